//! What help says, and what becomes of wrong usage.

use insta::assert_snapshot;

use super::{Desk, LEAST};

#[test]
fn help_says_what_there_is() {
    let desk = Desk::new(LEAST);
    assert_snapshot!(desk.printed("--help", &[]), @"
    Archives call recordings: RabbitMQ messages in, recordings from Huawei CC-FS to S3, events out

    Usage: callvault [OPTIONS] <COMMAND>

    Commands:
      init         Write a first configuration: ask for what it needs, and try it
      run          The worker: archive until told to stop
      check        Try broker, CC-FS and store as the worker would, and say what to do about what fails
      config       Print the effective configuration with its sources, secrets masked
      dump         Ask for recordings: by name, or all of a recording index
      reconcile    Compare an index or a list of calls with the bucket: what is missing, what is empty
      index        Have CC-FS make the recording index of some days, and write it to a file
      audit        Hold what CC-FS knows of each day against the bucket, for every tenant
      healthcheck  Ask a running worker whether it is ready; for images without a shell
      status       Show what running workers do, how fast, and what troubles them
      topology     Print what makes the exchanges, queues and bindings that a worker needs
      dead         Look at what failed for good; put it back, drop it, or carry it elsewhere
      waiting      Look at what waits for a retry; put it back at once
      sign         Print the signed request for one recording as a curl command
      completions  Print a script that completes callvault's command lines in a shell
      man          Print the manual page

    Options:
          --config <FILE>  The configuration, a TOML file [env: CALLVAULT_CONFIG=]
      -h, --help           Print help
      -V, --version        Print version

    Examples:
      callvault init                                 a first configuration, asked for and tried
      callvault config --config callvault.toml       what is in force, and where it comes from
      callvault check --config callvault.toml        what works, and what to do about what does not
      callvault run --config callvault.toml          archive until told to stop
      callvault dump --tenant acme --index package.zip
      callvault index --tenant acme --day 2026-04-25 --out package.zip
      callvault audit --config callvault.toml        whether all that CC-FS knows of is in the bucket
      CALLVAULT__LOG__LEVEL=debug callvault run --config callvault.toml
      callvault dead list --config callvault.toml    what failed for good, and why
      callvault waiting list --config callvault.toml what waits for a retry, why, and until when
      callvault status --watch --config callvault.toml

    Any key but those of tenants can be set by the environment: CALLVAULT__SECTION__KEY.
    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration; audit has a 3, too.
    ");
    assert_snapshot!(desk.printed("run --help", &[]), @"
    The worker: archive until told to stop.

    SIGTERM or SIGINT: stop consuming, finish what is in flight within worker.drain_timeout, give the
    rest back to the queue, exit 0. A second signal, a second later or more, exits at once. SIGHUP: read
    the configuration and tenants_dir again; tenants come, change and go.

    Usage: callvault run [OPTIONS]

    Options:
          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Example:
      callvault run --config /etc/callvault/callvault.toml
    ");
    assert_snapshot!(desk.printed("config --help", &[]), @r"
    Print the effective configuration with its sources, secrets masked.

    Connects to nothing. Exit 2 with all mistakes at once where it is wrong.

    Usage: callvault config [OPTIONS]

    Options:
          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Example:
      callvault config --config callvault.toml
    ");
    assert_snapshot!(desk.printed("dump --help", &[]), @"
    Ask for recordings: by name, or all of a recording index.

    Publishes requests of at most a thousand recordings, which workers archive behind live calls. An
    index may be of any size, in UTF-8 or GBK; its times are those of the tenant's time zone. With
    --day, or --from and --to, it is asked from CC-FS itself, as callvault index does; that such a day
    has no row is an answer. A row that cannot be used is reported on stderr with its line. A dump may
    be repeated, also after it was killed: what is stored is not fetched again. Exit 0 when all was
    asked for, 1 when not or when there is no row, 2 for wrong usage or configuration.

    Usage: callvault dump [OPTIONS] --tenant <ID> <--call-id <ID>...|--file-name <NAME>...|--index <FILE>|--call-ids <FILE>|--day <DAY>|--from <DAY>>

    Options:
          --tenant <ID>
              Whose recordings; a tenant of the configuration

          --call-id <ID>...
              Calls to ask for; the epoch seconds that an id begins with give the day

          --file-name <NAME>...
              Recordings to ask for by original_file_name; the day stands in the path

          --index <FILE>
              A recording index: its CSV, the ZIP package it comes in, or - for either on standard input

          --call-ids <FILE>
              A plain list of call ids, one a line, or - for one on standard input; the epoch seconds
              that an id begins with give the day

          --day <DAY>
              A day of the tenant's time zone, such as 2026-04-25: its index is asked from CC-FS

          --from <DAY>
              The first of several such days

          --to <DAY>
              The last of them

          --wait <DURATION>
              How long CC-FS may take to make an index; of more than three days, each of several

              [default: 30m]

          --allow-empty
              Take an index or a list without a row for an answer: there was nothing to archive

          --by <BY>
              The name that rows of the index are asked for by; live calls have keys by call id. The
              rows of a call are then one request

              [default: call-id]
              [possible values: call-id, file-name]

          --force
              Store again over what is there

          --dry-run
              Print the keys the recordings would get, and ask for nothing; * is for what CC-FS sends

          --request-id <ID>
              What events say they belong to [default: dump-, the time and eight digits]

          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      callvault dump --tenant acme --call-id 1777093663-792075
      callvault dump --tenant acme --day 2026-04-25
      callvault dump --tenant acme --index package.zip --dry-run
      callvault dump --tenant acme --index package.zip --request-id audit-2026
      callvault dump --tenant acme --call-ids missing.txt
    ");
    assert_snapshot!(desk.printed("reconcile --help", &[]), @"
    Compare an index or a list of calls with the bucket: what is missing, what is empty.

    Lists the days of the index instead of asking for each recording. One is present if any key of its
    day is its own: by call id, by file name or by both, whatever the extension. With --day, or --from
    and --to, the index is asked from CC-FS itself, as callvault index does; that such a day has no row
    is an answer. Rows that cannot be used are reported on stderr. With --enqueue what is missing is
    asked for; an empty object is in the way of another, until callvault dump --force. Needs
    s3:ListBucket. Exit 0 when all is there, 1 when not or when there is no row, 2 for wrong usage or
    configuration.

    Usage: callvault reconcile [OPTIONS] --tenant <ID> <--index <FILE>|--call-ids <FILE>|--day <DAY>|--from <DAY>>

    Options:
          --tenant <ID>
              Whose recordings; a tenant of the configuration

          --index <FILE>
              A recording index: its CSV, the ZIP package it comes in, or - for either on standard input

          --call-ids <FILE>
              A plain list of call ids, one a line, or - for one on standard input; the epoch seconds
              that an id begins with give the day

          --day <DAY>
              A day of the tenant's time zone, such as 2026-04-25: its index is asked from CC-FS

          --from <DAY>
              The first of several such days

          --to <DAY>
              The last of them

          --wait <DURATION>
              How long CC-FS may take to make an index; of more than three days, each of several

              [default: 30m]

          --allow-empty
              Take an index or a list without a row for an answer: there was nothing to archive

          --enqueue
              Ask for what is missing or partial, as callvault dump does

          --by <BY>
              The name that missing recordings are asked for by

              [default: call-id]
              [possible values: call-id, file-name]

          --json
              Report as JSON

          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      callvault reconcile --tenant acme --index package.zip
      callvault reconcile --tenant acme --from 2026-04-01 --to 2026-04-30 --enqueue
      callvault reconcile --tenant acme --index package.zip --json | jq .missing
    ");
    assert_snapshot!(desk.printed("healthcheck --help", &[]), @r"
    Ask a running worker whether it is ready; for images without a shell.

    Asks /readyz on http.listen of the same configuration. Exit 0 when ready, 1 when not, 2 when the
    configuration is wrong.

    Usage: callvault healthcheck [OPTIONS]

    Options:
          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Example:
      callvault healthcheck --config callvault.toml
    ");
    assert_snapshot!(desk.printed("status --help", &[]), @r#"
    Show what running workers do, how fast, and what troubles them.

    What the page of a worker shows, in a terminal: asks /api/status of each --url, or of http.listen of
    the configuration where there is none. Exit 0 when all answer, 1 when one does not, 2 for wrong
    usage or configuration.

    Usage: callvault status [OPTIONS]

    Options:
          --url <URL>
              A worker's address, such as http://10.0.0.7:9464; repeat it for several

          --watch
              Ask again each second, until interrupted

          --json
              Print a JSON array: [{"url", "status": {…} or "error": "…"}]

          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      callvault status --config callvault.toml
      callvault status --watch --url http://10.0.0.7:9464 --url http://10.0.0.8:9464
      callvault status --json | jq '.[].status.backlog'
    "#);
    insta::with_settings!({ filters => vec![(r"\d+\.\d+\.\d+\S*", "[version]")] }, {
        assert_snapshot!(desk.printed("--version", &[]), @"callvault [version]");
    });
}

#[test]
fn wrong_usage_ends_with_2() {
    let desk = Desk::new(LEAST);
    let usage = desk.told("", &[], 2);
    assert!(usage.contains("Usage: callvault") && usage.contains("healthcheck  "), "{usage}");
    assert_snapshot!(desk.told("confg", &[], 2), @r"
    error: unrecognized subcommand 'confg'

      tip: a similar subcommand exists: 'config'

    Usage: callvault [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(desk.told("run --confg callvault.toml", &[], 2), @r"
    error: unexpected argument '--confg' found

      tip: a similar argument exists: '--config'

    Usage: callvault run --config <FILE>

    For more information, try '--help'.
    ");
    assert_snapshot!(desk.told("config callvault.toml", &[], 2), @r"
    error: unexpected argument 'callvault.toml' found

    Usage: callvault config [OPTIONS]

    For more information, try '--help'.
    ");
}
