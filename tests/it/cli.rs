//! The program as its users start it: what it prints where, and how it ends.

mod audit;
mod backfill;
mod config;
mod dump;
mod ends;
mod index;
mod init;
mod lists;
mod log;
mod pages;
mod reconcile;
mod refused;
mod sign;
mod status;
mod terminal;
mod topology;
mod usage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::worker::binary;

/// The least that `run` starts with; nothing of it answers.
pub const LEAST: &str = r#"[broker]
url = "amqp://guest:guest@127.0.0.1:1/%2f"
[ccfs]
endpoints = ["https://ccfs.example.com:28443"]
[store]
bucket = "recordings"
access_key_id = "id"
secret_access_key = "key"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key = "SK"
"#;

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it writes UTF-8");
        Self {
            code: output.status.code().expect("it ends by itself"),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// A folder of its own with a `callvault.toml`, in which commands are run.
pub struct Desk(tempfile::TempDir);

impl Desk {
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("callvault.toml"), config).expect("it can be written");
        Self(folder)
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("it can be written");
        path
    }

    pub fn command(&self, line: &str, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(binary());
        command.args(line.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        // Nothing of whoever runs the tests: no CALLVAULT_…, no colours, no back traces.
        command.env_clear().envs(environment.iter().copied());
        command
    }

    pub fn run_with(&self, line: &str, environment: &[(&str, &str)]) -> Ended {
        let output = self.command(line, environment).output().expect("the binary can be started");
        let ended = Ended::of(&output);
        assert!(!ended.stdout.contains('\u{1b}'), "colours in a pipe: {:?}", ended.stdout);
        assert!(!ended.stderr.contains('\u{1b}'), "colours in a pipe: {:?}", ended.stderr);
        ended
    }

    pub fn run(&self, line: &str) -> Ended {
        self.run_with(line, &[])
    }

    /// What a command that ends well prints.
    pub fn printed(&self, line: &str, environment: &[(&str, &str)]) -> String {
        let ended = self.run_with(line, environment);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{line}");
        // Editors drop blanks at ends of lines, from snapshots too.
        ended.stdout.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// What a command that fails with `code` says; it prints nothing else.
    pub fn told(&self, line: &str, environment: &[(&str, &str)], code: i32) -> String {
        let ended = self.run_with(line, environment);
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{line}: {}", ended.stderr);
        ended.stderr
    }
}

/// A row of a recording index: a call that ended at noon, UTC, on this day.
pub fn row(call_id: &str, day: &str, file_name: &str) -> String {
    let (begin, end) = (format!("{day} 11:55:00"), format!("{day} 12:00:00"));
    format!(
        "dev,7,1,512,{call_id},+4915550123,5550199,{begin},{end},,0,0,{file_name},4,0,5,,17\r\n"
    )
}

/// The ZIP package that an index comes in, with the calls beside it.
pub fn package(files: &[(&str, String)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(*name, options).expect("a file in a ZIP");
        std::io::Write::write_all(&mut zip, text.as_bytes()).expect("memory can be written");
    }
    zip.finish().expect("memory can be written").into_inner()
}
