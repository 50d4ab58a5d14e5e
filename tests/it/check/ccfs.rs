//! What stands before CC-FS, and what it refuses.

use insta::assert_snapshot;
use jiff::SignedDuration;

use super::{check, filters};
use crate::support::ccfs::{Certificate, QUERY_BILL_DATA, Reply, Simulator};
use crate::support::world::World;

#[tokio::test]
async fn what_stands_before_ccfs_is_told_apart_from_ccfs() {
    let world = World::new().await;
    let at = |ccfs: &str, keys: &[(&str, &str)]| {
        world.config_at(&world.amqp, ccfs, world.store.s3().endpoint(), keys)
    };
    let no_name = check(&at("https://ccfs.invalid:28443", &[]), &[]).await;
    let closed = check(&at("http://127.0.0.1:1", &[]), &[]).await;
    let secure = Simulator::start_tls().await;
    let untrusted = check(&at(&secure.url(), &[]), &[]).await;
    let own = Simulator::start_tls_with(Certificate::SelfSigned).await;
    let unnamed = check(&at(&own.url(), &[]), &[]).await;
    world.ccfs.default_reply(Reply::html(403));
    let firewall = check(&at(&world.ccfs.url(), &[]), &[]).await;
    world.ccfs.default_reply(Reply::hang());
    let silent = check(&at(&world.ccfs.url(), &[("ccfs", "read_timeout = \"1s\"")]), &[]).await;
    let all = [&no_name, &closed, &untrusted, &unnamed, &firewall, &silent];
    assert!(all.iter().all(|checked| checked.code == 1), "each fails");
    filters(&world).bind(|| {
        assert_snapshot!(no_name.part("ccfs: acme"), @r"
        ccfs: acme, ccfs.invalid:28443
          FAILED  name                ccfs.invalid has no address: failed to lookup address information: Name or service not known
                                      → correct ccfs.endpoints, or the name service of this machine
        ");
        assert_snapshot!(closed.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          FAILED  connection          Connection refused (os error 111)
                                      → check host and port of ccfs.endpoints, that a firewall lets this machine out, and ccfs.proxy where one is needed
        ");
        assert_snapshot!(untrusted.part("ccfs: acme"), @r"
        ccfs: acme, localhost:PORT
          ok      name                localhost is 127.0.0.1
          ok      connection          stands
          FAILED  certificate         invalid peer certificate: UnknownIssuer
                                      → name the CA that signed it in ccfs.ca_file (PEM)
        ");
        assert_snapshot!(unnamed.part("ccfs: acme"), @r"
        ccfs: acme, localhost:PORT
          ok      name                localhost is 127.0.0.1
          ok      connection          stands
          FAILED  certificate         other error: the server's certificate is that of a CA (CA:TRUE): name exactly this certificate in ca_file, or have the CA issue one for the server (CA:FALSE, with its name)
                                      → put this very certificate into ccfs.ca_file (PEM), or have its CA issue one for the server
        ");
        assert_snapshot!(firewall.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          ok      connection          127.0.0.1:PORT
          FAILED  answer              a firewall in front of CC-FS answered (HTTP 403)
                                      → have the address of this machine let through by whoever runs the firewall; a smaller max_concurrency of the tenant asks more softly
          ok      clock               agrees with that of CC-FS
          skipped no data             without an answer of CC-FS
          skipped index               without an answer of CC-FS
        ");
        assert_snapshot!(silent.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          ok      connection          127.0.0.1:PORT
          FAILED  answer              CC-FS sent nothing for 1s (ccfs.read_timeout)
                                      → CC-FS took the request and did not answer it: look there, and at what stands between
        ");
    });
}

#[tokio::test]
async fn a_refused_key_and_a_clock_that_is_off_are_told_apart() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    world.ccfs.account("ak-acme", "another");
    let key = check(&world.config(&[]), &[]).await;
    assert_eq!(key.code, 1, "{}", key.text);
    let fine = key.part("ccfs: globex");
    assert!(fine.contains("ok      signature           accepted"), "{fine}");

    let late = World::new().await;
    late.ccfs.default_reply(Reply::not_found());
    late.ccfs.clock_offset(SignedDuration::from_mins(7) + SignedDuration::from_secs(20));
    let clock = check(&late.config(&[]), &[]).await;
    let mut settings = filters(&world);
    settings.add_filter(r"7 min \d+ s", "7 min SS s");
    settings.bind(|| {
        assert_snapshot!(key.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          ok      connection          127.0.0.1:PORT
          FAILED  signature           the key is refused: CC-FS refused the access key or the signature; the clocks agree
                                      → correct access_key and secret_key of the tenant; behind a load balancer also ccfs.host, which is signed; compare with `callvault sign --verbose`
          ok      clock               agrees with that of CC-FS
          skipped no data             without an answer of CC-FS
          skipped index               without an answer of CC-FS
        ");
        assert_snapshot!(clock.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          ok      connection          127.0.0.1:PORT
          FAILED  signature           refused: the clock here is 7 min SS s behind CC-FS
                                      → set the clock of this machine (NTP): CC-FS refuses signatures whose time is off
          FAILED  clock               the clock here is 7 min SS s behind CC-FS
                                      → set the clock of this machine (NTP): CC-FS refuses signatures whose time is off
          skipped no data             without an answer of CC-FS
          skipped index               without an answer of CC-FS
        ");
    });
}

/// Archiving needs no index: whatever CC-FS says to that, nothing has failed.
#[tokio::test]
async fn an_account_that_may_have_no_index_is_told_and_nothing_fails() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let mut seen = Vec::new();
    for reply in [
        Reply::code("0399999"),
        Reply::code("0300009"),
        Reply::not_found(),
        Reply::status(404),
        Reply::status(401),
        Reply::html(403),
        Reply::close(),
    ] {
        world.ccfs.no_index("ak-acme", reply);
        let checked = check(&world.config(&[]), &[]).await;
        assert_eq!(checked.code, 0, "{}", checked.text);
        let part = checked.part("ccfs: acme");
        let (_, index) = part.split_once("no data found\n").expect("there is an answer");
        seen.push(index.trim_end().to_owned());
    }
    assert_snapshot!(seen.join("\n"), @r"
      note    index               queryBillData: ccfs.0399999: CC-FS answered a result code that is in no table; ccfs.result_codes can name it
                                  → archiving does not need it; `index`, `audit` and --day do: have whoever runs CC-FS, or what stands before it, let this account ask for it
      note    index               queryBillData: ccfs.0300009: CC-FS answered: the query flow-control threshold is reached
                                  → CC-FS is busy; check again later
      ok      index               queryBillData: ccfs.0300012: CC-FS answered: no data found
      note    index               queryBillData: ccfs.http_404: CC-FS answered HTTP 404
                                  → archiving does not need it; `index`, `audit` and --day do: have whoever runs CC-FS, or what stands before it, let this account ask for it
      note    index               queryBillData: ccfs.unauthorized: CC-FS refused the access key or the signature; the clocks agree
                                  → archiving does not need it; `index`, `audit` and --day do: have whoever runs CC-FS, or what stands before it, let this account ask for it
      note    index               queryBillData: ccfs.firewall: a firewall in front of CC-FS answered (HTTP 403)
                                  → archiving does not need it; `index`, `audit` and --day do: have whoever runs CC-FS, or what stands before it, let this account ask for it
      note    index               queryBillData: ccfs.unreachable: the connection broke before an answer came
                                  → archiving does not need it; `index`, `audit` and --day do: have whoever runs CC-FS, or what stands before it, let this account ask for it
    ");
    let asked = world.ccfs.requests().into_iter().filter(|seen| seen.raw.target == QUERY_BILL_DATA);
    let bodies = asked.map(|seen| String::from_utf8(seen.raw.body).unwrap());
    for body in bodies {
        assert!(
            body.contains(
                "\"beginTime\":\"2000-01-01 00:00:00\",\"endTime\":\"2000-01-01 00:01:00\""
            )
        );
    }
}

#[tokio::test]
async fn what_speaks_tls_or_does_not_is_told_where_the_other_was_asked_for() {
    let world = World::new().await;
    let at = |ccfs: &str| world.config_at(&world.amqp, ccfs, world.store.s3().endpoint(), &[]);
    let secure = Simulator::start_tls().await;
    let is_tls = check(&at(&secure.url().replace("https://", "http://")), &[]).await;
    // The simulator would wait for the end of a head; most servers say at once that it is none.
    let plain = world.store.s3().endpoint();
    let no_tls = check(&at(&plain.replace("http://", "https://")), &[]).await;
    assert_eq!([&is_tls, &no_tls].map(|it| it.code), [1, 1]);
    filters(&world).bind(|| {
        assert_snapshot!(is_tls.part("ccfs: acme"), @r"
        ccfs: acme, localhost:PORT
          FAILED  connection          what answers at localhost:PORT speaks TLS
                                      → write https:// in ccfs.endpoints
        ");
        assert_snapshot!(no_tls.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          FAILED  connection          what answers does not speak TLS (https:// in ccfs.endpoints)
                                      → write http:// in ccfs.endpoints, or name the port that speaks TLS
        ");
    });
}
