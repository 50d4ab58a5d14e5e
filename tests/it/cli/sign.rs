//! `callvault sign`: what it prints works as it is printed.

use std::fs;
use std::process::Command;

use insta::assert_snapshot;

use super::{Desk, Ended, LEAST};
use crate::support::ccfs::{Reply, Simulator};
use crate::support::debian;

const CALL: &str = "1777093663-792075";
/// All that a shell could take for its own.
const FILE: &str = r#"X:/4/0/20260425/512/it's $HOME `id` "1" \ 录音.V3"#;
const SECRET: &str = "hunter-2-of-the-simulator";

fn config(ccfs: &str, keys: &str) -> String {
    LEAST
        .replace("https://ccfs.example.com:28443\"]", &format!("{ccfs}\"]\n{keys}"))
        .replace("secret_key = \"SK\"", &format!("secret_key = \"{SECRET}\""))
}

async fn simulator(tls: bool) -> Simulator {
    let ccfs = if tls { Simulator::start_tls().await } else { Simulator::start().await };
    ccfs.account("AK", SECRET);
    ccfs
}

/// Runs what was printed in a shell, with an environment that must not matter.
fn run_printed(desk: &Desk, printed: &str) {
    if Command::new("curl").arg("--version").output().is_err() {
        debian::install("curl", "");
    }
    desk.file(".curlrc", "user-agent = \"not ours\"\nheader = \"Host: elsewhere\"\n");
    let mut shell = Command::new("sh");
    shell.args(["-c", printed]).current_dir(desk.folder());
    shell.env("http_proxy", "http://127.0.0.1:1").env("HOME", desk.folder());
    let output = shell.output().expect("sh is there");
    assert!(output.status.success(), "{printed}\n{}", debian::show(&output));
    assert!(debian::show(&output).starts_with("HTTP/1.1 200 "), "{}", debian::show(&output));
}

fn recording(desk: &Desk) -> Vec<u8> {
    fs::read(desk.folder().join("recording")).expect("curl wrote it")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_command_gets_the_recording() {
    let ccfs = simulator(false).await;
    ccfs.default_reply(Reply::wav(4096));
    let desk = Desk::new(&config(&ccfs.url(), ""));
    let file = format!("--file-name={FILE}");
    for which in [vec!["--call-id", CALL], vec![&file], vec!["--call-id", CALL, &file]] {
        let mut command = desk.command("sign --tenant acme --config callvault.toml --verbose", &[]);
        let output = command.args(&which).output().expect("it starts");
        let ended = Ended::of(&output);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(SECRET));
        run_printed(&desk, &ended.stdout);
        let seen = ccfs.requests().pop().expect("it asked");
        assert_eq!(seen.verified, Ok("AK".to_owned()));
        let asked = (seen.asked.call_id.as_deref(), seen.asked.file_name.as_deref());
        assert_eq!(asked.0.is_some(), which.contains(&CALL));
        assert!(asked.1.is_none_or(|name| name == FILE), "{asked:?}");
        assert_eq!(recording(&desk), ccfs.expected(asked.0.unwrap_or(FILE)).to_vec());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_host_and_proxy_act_as_they_do_in_the_worker() {
    let ccfs = simulator(true).await;
    ccfs.expect_host("ccfs.example.com:28443");
    let keys =
        format!("host = \"ccfs.example.com:28443\"\nca_file = \"{}\"\n", ccfs.ca_file().display());
    let desk = Desk::new(&config(&ccfs.url(), &keys));
    let line = format!("sign --tenant acme --call-id {CALL} --config callvault.toml");
    run_printed(&desk, &desk.printed(&line, &[]));
    assert_eq!(recording(&desk), ccfs.expected(CALL).to_vec());

    let proxy = simulator(false).await;
    let at = proxy.url().replace("http://", "http://us%40er@");
    let desk = Desk::new(&config("http://ccfs.invalid:8080", &format!("proxy = \"{at}\"\n")));
    // Without a password curl would ask for it; a colon says that there is none.
    let printed = desk.printed(&line, &[]).replace("'us@er'", "'us@er:'");
    run_printed(&desk, &printed);
    let seen = proxy.requests().pop().expect("it asked the proxy");
    assert!(seen.raw.target.starts_with("http://ccfs.invalid:8080/"), "{}", seen.raw.target);
    assert_eq!(seen.raw.header("proxy-authorization"), Some("Basic dXNAZXI6"));
    assert_eq!(seen.verified, Ok("AK".to_owned()));

    let with_password = at.replace("us%40er", "us%40er:hunter-3");
    let proxy = [("CALLVAULT__CCFS__PROXY", with_password.as_str())];
    let ended = desk.run_with(&line, &proxy);
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("hunter"), "{}", ended.stdout);
    assert!(ended.stderr.contains("The proxy's password is a secret"), "{}", ended.stderr);
}

#[test]
fn what_is_printed_can_be_compared_and_mistakes_are_told() {
    let desk = Desk::new(LEAST);
    let line = format!("sign --tenant acme --call-id {CALL} --verbose --config callvault.toml");
    let ended = desk.run(&line);
    insta::with_settings!({ filters => vec![
        (r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", "[now]"), ("[0-9a-f]{64}", "[signature]"),
    ] }, {
        assert_snapshot!(ended.stdout, @r#"
        curl --disable \
          --silent --show-error --http1.1 --globoff \
          --connect-timeout 5 \
          --noproxy '*' \
          --header 'host: ccfs.example.com:28443' \
          --header 'accept: */*' \
          --header 'accept-encoding: identity' \
          --header 'content-type: application/json;charset=UTF-8' \
          --header 'authorization: auth-v2/AK/[now]/content-length;content-type;host/[signature]' \
          --data-binary '{"request":{"version":"2.0"},"msgBody":{"callId":"1777093663-792075","ccId":"1"}}' \
          --dump-header - --output recording \
          'https://ccfs.example.com:28443/CCFS/resource/ccfs/downloadRecord'
        "#);
        assert_snapshot!(ended.stderr, @r"
        What is signed, line by line:
        POST
        /CCFS/resource/ccfs/downloadRecord
        content-length;content-type;host
        content-length:81
        content-type:application%2Fjson%3Bcharset%3DUTF-8
        host:ccfs.example.com%3A28443
        %7B%22request%22%3A%7B%22version%22%3A%222.0%22%7D%2C%22msgBody%22%3A%7B%22callId%22%3A%221777093663-792075%22%2C%22ccId%22%3A%221%22%7D%7D
        ");
    });
    let own = Desk::new(&format!("{LEAST}cc_id = \"7\"\n"));
    assert!(own.run(&line).stdout.contains(r#""ccId":"7""#), "the tenant's call centre");
    let of = |line: &str| desk.told(&format!("sign {line} --config callvault.toml"), &[], 2);
    assert_snapshot!(of("--tenant acm --call-id 1"), @r#"callvault: no tenant "acm" is configured; there are: acme"#);
    assert_snapshot!(of("--tenant acme"), @r"
    error: the following required arguments were not provided:
      <--call-id <ID>|--file-name <NAME>>

    Usage: callvault sign --tenant <TENANT> --config <FILE> <--call-id <ID>|--file-name <NAME>>

    For more information, try '--help'.
    ");
    assert_snapshot!(of("--tenant acme --call-id 12345678901234567890123456"), @r"
    error: invalid value '12345678901234567890123456' for '--call-id <ID>': must have 1 to 25 characters, has 26

    For more information, try '--help'.
    ");
}
