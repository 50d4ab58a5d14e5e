//! The text of a first configuration. Pure.

use std::path::Path;

use super::answers::Answers;
use crate::config::quoted;

/// Only what was answered; all else is as by default.
pub fn text(answers: &Answers) -> String {
    let mut text = Text(String::from(
        "\
# Written by callvault init. What is not here is as by default: `callvault init --reference` prints every key,
# `callvault config` shows what takes effect and from where, `callvault check` tries it.
# A secret is in a file of its own, which is read again when it changes.
",
    ));
    text.section(
        "[broker]",
        "RabbitMQ. The file holds amqps://user:password@host:5671/virtual-host",
    );
    text.file("url", &answers.broker_url.file);

    text.section(
        "[ccfs]",
        "Huawei CC-FS. More endpoints are tried in order when one cannot be reached.",
    );
    text.line("endpoints", &format!("[{}]", quoted(&answers.ccfs_endpoint)));
    text.answer("ca_file", &answers.ccfs_ca_file);

    text.section(
        "[store]",
        "S3. Keys are {tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}; store.key changes that.",
    );
    text.answer("endpoint", &answers.store_endpoint);
    if !answers.store_endpoint.is_empty() {
        // As most want it that are not AWS.
        text.line("path_style", "true");
    }
    text.answer("region", &answers.region);
    text.answer("bucket", &answers.bucket);
    match &answers.store_keys {
        Some([id, key]) => {
            text.file("access_key_id", &id.file);
            text.file("secret_access_key", &key.file);
        }
        None => {
            text.comment("No keys: as the AWS SDK finds them, in the environment, or of a role.")
        }
    }

    text.section(
        "[[tenants]]",
        "One section a tenant. Its time zone is in the keys: settle it before the first call.",
    );
    text.answer("id", &answers.tenant);
    text.answer("access_key", &answers.access_key);
    text.file("secret_key", &answers.secret_key.file);
    text.answer("cc_id", &answers.cc_id);
    text.answer("time_zone", &answers.time_zone);
    text.0
}

/// TOML, line by line.
struct Text(String);

impl Text {
    fn comment(&mut self, comment: &str) {
        self.0 += &format!("# {comment}\n");
    }

    fn section(&mut self, header: &str, comment: &str) {
        self.0.push('\n');
        self.comment(comment);
        self.0 += &format!("{header}\n");
    }

    fn line(&mut self, key: &str, value: &str) {
        self.0 += &format!("{key} = {value}\n");
    }

    /// Not where the answer was to do without.
    fn answer(&mut self, key: &str, answer: &str) {
        if !answer.is_empty() {
            self.line(key, &quoted(answer));
        }
    }

    fn file(&mut self, key: &str, file: &Path) {
        self.line(&format!("{key}_file"), &quoted(&file.display().to_string()));
    }
}
