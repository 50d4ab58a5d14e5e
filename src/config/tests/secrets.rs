//! The forms of a secret, and that none is printed.

use insta::assert_snapshot;

use super::{LEAST, good, load, mistakes, row, value_of, with};
use crate::config::Loaded;

#[test]
fn a_secret_has_three_forms_and_a_higher_layer_hides_all_of_a_lower_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    std::fs::write(&path, "amqps://u:hunter2@file/\n").unwrap();
    let path = path.to_str().unwrap();
    let named = format!("[broker]\nurl_file = \"{path}\"\n");
    let url = |loaded: &Loaded| value_of(&loaded.config.broker.urls[0]);

    let loaded = good(&named, &[]);
    assert_eq!(url(&loaded), "amqps://u:hunter2@file/");
    let shown =
        ("\"amqps://u:***@file/\"".into(), format!("secret file {path} (callvault.toml:2)"));
    assert_eq!(row(&loaded, "[broker]", "url"), shown);

    let loaded = good(&named, &[("CALLVAULT__BROKER__URL", "amqp://env/")]);
    assert_eq!(url(&loaded), "amqp://env/");
    let loaded =
        good(&named, &[("CALLVAULT__BROKER__URL_ENV", "RABBIT"), ("RABBIT", "amqp://named/\n")]);
    assert_eq!(url(&loaded), "amqp://named/");
    let loaded = good(
        "[broker]\nurl = \"amqp://inline/\"\n",
        &[("CALLVAULT__BROKER__URLS", r#"["amqp://u:p@a/", "amqp://b/"]"#)],
    );
    assert_eq!(loaded.config.broker.urls.len(), 2);
    let shown = r#"["amqp://u:***@a/", "amqp://b/"]"#;
    assert_eq!(row(&loaded, "[broker]", "urls").0, shown);

    // A line left at its empty default is no second form.
    let file = format!("[broker]\nurl = \"\"\nurl_file = \"{path}\"\n");
    assert_eq!(url(&good(&file, &[])), "amqps://u:hunter2@file/");
}

#[test]
fn the_line_end_in_a_variable_is_none_of_its_value() {
    let id = ("CALLVAULT__STORE__ACCESS_KEY_ID", "AKIA\r\n");
    let secret = ("CALLVAULT__STORE__SECRET_ACCESS_KEY", "hunter2\n");
    let bucket = ("CALLVAULT__STORE__BUCKET", "other\n");
    let loaded = good("", &[id, secret, bucket, ("CALLVAULT__WORKER__CONCURRENCY", "7\n")]);
    let store = &loaded.config.tenants[0].store;
    let keys = store.credentials.as_ref().unwrap();
    assert_eq!(value_of(&keys.access_key_id), "AKIA");
    assert_eq!(value_of(&keys.secret_access_key), "hunter2");
    assert_eq!(store.bucket, "other");
    assert_eq!(loaded.config.worker.concurrency, 7);
    // What is nothing but that is empty.
    let loaded = good("", &[("CALLVAULT__STORE__SESSION_TOKEN", "\n"), id, secret]);
    let keys = loaded.config.tenants[0].store.credentials.as_ref().unwrap();
    assert!(keys.session_token.is_none());
}

#[test]
fn mistakes_of_secret_forms() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let told = |head: &str, variables: &[(&str, &str)]| {
        let told = with(head, variables).map(|_| "no mistake").unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
        told
    };
    let both = "[broker]\nurl = \"amqp://hunter2/\"\nurl_env = \"RABBIT\"\n";
    assert_snapshot!(told(both, &[("RABBIT", "amqp://x/")]), @"
    the configuration has a mistake:
      callvault.toml:3: broker.url_env: is set together with url; keep one of the two
    ");
    let file = format!("[broker]\nurl_file = \"{}\"\n", empty.display());
    assert_snapshot!(told(&file, &[]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url_file: the file it names is empty; name a file that holds the secret
    ");
    assert_snapshot!(told("[broker]\nurl_env = \"RABBIT\"\n", &[]), @r#"
    the configuration has a mistake:
      callvault.toml:2: broker.url_env: the environment variable it names is not set; set the variable, or name another
    "#);
    assert_snapshot!(told("[broker]\nurl_env = \"RABBIT\"\n", &[("RABBIT", "hunter2")]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url_env: the value it names is no URL: relative URL without a base; write it as amqp://user:password@host:5672/%2f, or amqps:// for TLS
    ");
    assert_snapshot!(told("[broker]\nurl_file = \"hunter2\"\n", &[]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url_file: the file it names cannot be read: no such file; name a file that holds the secret
    ");
    assert_snapshot!(told("[broker]\nurl_env = \"hunter2\"\n", &[]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url_env: the environment variable it names is not set; set the variable, or name another
    ");
    assert_snapshot!(told("[broker]\nurl = \"\"\n", &[]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url: must not be empty; set it, or remove the line or variable
    ");
    assert_snapshot!(told("", &[("CALLVAULT__STORE__ACCESS_KEY_ID", "hunter2")]), @"
    the configuration has a mistake:
      CALLVAULT__STORE__ACCESS_KEY_ID: store.access_key_id: is set without secret_access_key; set both or neither
    ");
}

#[test]
fn what_no_header_takes_is_refused_and_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let both = dir.path().join("both");
    std::fs::write(&both, "AKID\nhunter2\n").unwrap();
    let both = both.display();
    let text = |keys: &str| {
        LEAST.replace("[store]", &format!("[store]\nsecret_access_key = \"s \u{43a}\"\n{keys}"))
    };
    let refused = |keys: &str, variables: &[(&str, &str)], what: &str| {
        let told = mistakes(&text(keys), variables);
        assert!(told.contains(what) && !told.contains("hunter2"), "{told}");
    };
    let line_break = "line break or another control character";
    refused(&format!("access_key_id_file = \"{both}\""), &[], line_break);
    refused("access_key_id_env = \"ID\"", &[("ID", "hunter2\rx")], line_break);
    refused("access_key_id = \"hunter2\\u0000x\"", &[], line_break);
    let visible = "a letter that is not ASCII";
    refused("access_key_id = \"hunter2 x\"", &[], visible);
    refused("access_key_id = \"AK\"\nsession_token = \"hunter2\u{43a}\"", &[], visible);
    refused("access_key_id = \"AK\"\nregion = \"us-east-1\\n\"", &[], visible);
    // A secret key is signed with, not sent; a password may have blanks.
    load(&text("access_key_id = \"AK\""), &[]).unwrap();
}

#[test]
fn a_password_that_would_be_shown_is_refused_and_not_quoted() {
    let refused = |told: Result<Loaded, crate::config::Mistakes>| {
        let told = told.map(|_| "no mistake").unwrap_err().to_string();
        assert!(told.contains("%2F %3F %23") && !told.contains("hunter2"), "{told}");
    };
    for url in ["u:/hunter2@mq/", "u:12#hunter2@mq/", "u:?hunter2@mq", "u:1/hunter2@mq:5672/%2f"] {
        refused(with(&format!("[broker]\nurl = \"amqp://{url}\"\n"), &[]));
        refused(with("", &[("CALLVAULT__CCFS__PROXY", &format!("http://{url}"))]));
        refused(with("", &[("CALLVAULT__STORE__PROXY", &format!("http://{url}"))]));
    }
    good("[broker]\nurl = \"amqp://u:%2Fhunter2%40@mq/a%40b\"\n", &[]);
}

#[test]
fn nothing_that_can_be_printed_holds_a_secret() {
    let file = r#"
[broker]
url = "amqp://u:hunter2@rabbit/"
"#;
    let variables = [
        ("CALLVAULT__STORE__ACCESS_KEY_ID", "hunter2"),
        ("CALLVAULT__STORE__SECRET_ACCESS_KEY", "hunter2"),
        ("CALLVAULT__STORE__SESSION_TOKEN", "hunter2"),
        ("CALLVAULT__STORE__PROXY", "http://u:hunter2@proxy:3128"),
        ("CALLVAULT__CCFS__PROXY", "http://u:hunter2@proxy:3128"),
    ];
    let loaded = good(file, &variables);
    let printed = format!("{loaded:?}\n{}", crate::cli::config::run(&loaded));
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("http://u:***@proxy:3128"), "{printed}");
}
