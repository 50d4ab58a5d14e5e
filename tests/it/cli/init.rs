//! `callvault init`: what is told and what is typed becomes a configuration that works.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::ccfs::Reply;
use crate::support::worker::binary;
use crate::support::world::{SOON, World, access_key, secret_key};
use crate::support::{eventually, s3};

use super::Desk;

/// All that has no default, of servers that are not there.
const TOLD: &str = "init --yes --config callvault.toml --broker-url-file amqp-url \
     --ccfs-endpoint https://ccfs.example.com:28443 --tenant acme --access-key AK \
     --secret-key-file acme-sk --bucket recordings";

/// A folder without a configuration, but with the secrets that [`TOLD`] names.
fn empty() -> Desk {
    let desk = Desk::new("");
    fs::remove_file(desk.folder().join("callvault.toml")).unwrap();
    desk.file("amqp-url", "amqp://guest:guest@127.0.0.1:1/%2f\n");
    desk.file("acme-sk", "SK\n");
    desk
}

/// Where this world's queues and exchanges are: the tests share a broker.
fn names(world: &World) -> [(&'static str, &str); 3] {
    [
        ("CALLVAULT__BROKER__QUEUE_PREFIX", &world.prefix),
        ("CALLVAULT__BROKER__CALLS_EXCHANGE", &world.calls),
        ("CALLVAULT__BROKER__EVENTS_EXCHANGE", &world.events_exchange),
    ]
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A program on a terminal of its own, and somebody who answers it.
struct Conversation {
    program: Child,
    /// All that was on the terminal.
    shown: Arc<Mutex<String>>,
    /// As far as it has been read.
    read: usize,
}

impl Conversation {
    fn begin(desk: &Desk, line: &str, environment: &[(&str, &str)]) -> Self {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{} {line}", binary().display()), "/dev/null"]);
        let path = std::env::var("PATH").expect("whoever runs the tests has one");
        script.env_clear().env("PATH", path).env("TERM", "xterm").env("TZ", "Europe/Berlin");
        script.envs(environment.iter().copied()).current_dir(desk.folder());
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = script.spawn().expect("script is there");
        let mut output = program.stdout.take().expect("it is a pipe");
        let shown = Arc::new(Mutex::new(String::new()));
        let all = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                *all.lock().unwrap() += &String::from_utf8_lossy(&bytes[..read]);
            }
        });
        Self { program, shown, read: 0 }
    }

    /// Waits for a question, and answers it.
    async fn answer(&mut self, question: &str, answer: &str) {
        self.asked(question).await;
        self.type_in(answer);
    }

    /// The same with what is not to be shown. Whoever types before the terminal hides it types in vain.
    async fn answer_hidden(&mut self, question: &str, answer: &str) {
        self.asked(question).await;
        let terminal = self.terminal();
        eventually("the terminal hides what is typed", SOON, || async {
            let stty = Command::new("stty").args(["-a", "-F", &terminal]).output().unwrap();
            String::from_utf8(stty.stdout).unwrap().contains(" -echo ").then_some(())
        })
        .await;
        self.type_in(answer);
    }

    async fn asked(&mut self, question: &str) {
        let (shown, from) = (Arc::clone(&self.shown), self.read);
        self.read = eventually(question, SOON, || async {
            let shown = shown.lock().unwrap();
            shown[from..].contains(question).then_some(shown.len())
        })
        .await;
    }

    fn type_in(&mut self, answer: &str) {
        let stdin = self.program.stdin.as_mut().expect("it is a pipe");
        stdin.write_all(format!("{answer}\r").as_bytes()).unwrap();
    }

    /// `/dev/pts/7`, say: what the shell that `script` starts has for its input.
    fn terminal(&self) -> String {
        let script = self.program.id();
        let shell = fs::read_to_string(format!("/proc/{script}/task/{script}/children")).unwrap();
        let input = fs::read_link(format!("/proc/{}/fd/0", shell.trim())).unwrap();
        input.into_os_string().into_string().unwrap()
    }

    /// How it ended, and all that was on the terminal.
    async fn end(mut self) -> (i32, String) {
        let program = &mut self.program;
        let ended = eventually("its end", SOON, || {
            let ended = program.try_wait().unwrap();
            async move { ended }
        })
        .await;
        let shown = Arc::clone(&self.shown);
        let all = eventually("its last word", SOON, || async {
            let shown = shown.lock().unwrap();
            shown.contains("callvault run").then(|| shown.clone())
        })
        .await;
        (ended.code().unwrap(), all)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
        if thread::panicking() {
            eprintln!("{}", self.shown.lock().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_has_a_configuration_that_works() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let desk = empty();
    let secret = secret_key("acme");
    let mut talk = Conversation::begin(&desk, "init", &names(&world));
    let amqp = world.amqp.replace("guest:guest@", "");
    talk.answer("RabbitMQ", &amqp).await;
    talk.answer("Its user", "").await;
    talk.answer_hidden("password, not shown", "guest").await;
    talk.answer("CC-FS, https://host:port", "ccfs.example.com").await;
    talk.answer("is no URL such as https://host:port", &world.ccfs.url()).await;
    talk.answer("CA of its certificate", "").await;
    talk.answer("Tenant", "acme").await;
    talk.answer("access key (AK)", &access_key("acme")).await;
    talk.answer_hidden("secret key (SK)", &secret).await;
    talk.answer("call centre", "").await;
    talk.answer("time zone", "").await;
    talk.answer("S3, https://host:port", world.store.s3().endpoint()).await;
    talk.answer("Its region", "").await;
    talk.answer("Bucket", &world.bucket).await;
    talk.answer("access key ID", s3::ACCESS_KEY).await;
    talk.answer_hidden("secret access key", s3::SECRET_KEY).await;
    let (code, said) = talk.end().await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(", 0 failed,") && said.contains("next: callvault run"), "{said}");
    assert!(!said.contains(&secret) && !said.contains(s3::SECRET_KEY), "{said}");

    let folder = desk.folder().canonicalize().unwrap();
    let secrets = folder.join("secrets");
    assert_eq!(mode(&secrets), 0o700);
    for (name, value) in [
        ("broker-url", &*world.amqp),
        ("acme-secret-key", &secret),
        ("store-access-key-id", s3::ACCESS_KEY),
        ("store-secret-access-key", s3::SECRET_KEY),
    ] {
        assert_eq!(fs::read_to_string(secrets.join(name)).unwrap().trim_end(), value, "{name}");
        assert_eq!(mode(&secrets.join(name)), 0o600, "{name}");
    }
    let text = fs::read_to_string(folder.join("callvault.toml")).unwrap();
    assert!(!text.contains(&secret) && !text.contains(s3::SECRET_KEY), "{text}");
    assert!(text.contains("time_zone = \"Europe/Berlin\"\n"), "{text}");
    // And again, whatever others say of it.
    let checked = desk.run_with("check --config callvault.toml", &names(&world));
    assert_eq!(checked.code, 0, "{}", checked.stdout);
}

#[test]
fn with_options_nobody_is_asked() {
    let desk = empty();
    let line = format!(
        "{TOLD} --no-check --time-zone Europe/Moscow --store-endpoint https://s3.example.com \
         --store-access-key-id-file amqp-url --store-secret-access-key-file acme-sk"
    );
    let said = desk.printed(&line, &[]);
    let folder = desk.folder().canonicalize().unwrap().display().to_string();
    assert_eq!(
        said.replace(&folder, "FOLDER"),
        "written: FOLDER/callvault.toml\nnext: callvault check --config FOLDER/callvault.toml\n"
    );
    let text = fs::read_to_string(desk.folder().join("callvault.toml")).unwrap();
    insta::assert_snapshot!(text.replace(&folder, "FOLDER"), @r#"
    # Written by callvault init. What is not here is as by default: `callvault init --reference` prints every key,
    # `callvault config` shows what takes effect and from where, `callvault check` tries it.
    # A secret is in a file of its own, which is read again when it changes.

    # RabbitMQ. The file holds amqps://user:password@host:5671/virtual-host
    [broker]
    url_file = "FOLDER/amqp-url"

    # Huawei CC-FS. More endpoints are tried in order when one cannot be reached.
    [ccfs]
    endpoints = ["https://ccfs.example.com:28443"]

    # S3. Keys are {tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}; store.key changes that.
    [store]
    endpoint = "https://s3.example.com"
    path_style = true
    region = "us-east-1"
    bucket = "recordings"
    access_key_id_file = "FOLDER/amqp-url"
    secret_access_key_file = "FOLDER/acme-sk"

    # One section a tenant. Its time zone is in the keys: settle it before the first call.
    [[tenants]]
    id = "acme"
    access_key = "AK"
    secret_key_file = "FOLDER/acme-sk"
    cc_id = "1"
    time_zone = "Europe/Moscow"
    "#);
    assert!(!desk.folder().join("secrets").exists(), "none was typed");
    desk.printed("config --config callvault.toml", &[]);
    assert_eq!(mode(&desk.folder().join("callvault.toml")), 0o600);
}

#[test]
fn it_ends_as_check_does() {
    let desk = empty();
    let ended = desk.run(TOLD);
    assert_eq!(ended.code, 1, "nothing of it answers: {}", ended.stdout);
    assert!(ended.stdout.contains("FAILED  login"), "{}", ended.stdout);
    assert!(ended.stdout.contains("mend what failed, then: callvault check --config "));
}

#[test]
fn what_is_missing_is_said_at_once_and_nothing_is_written() {
    let desk = empty();
    let said = desk.told("init --tenant acme --bucket recordings", &[], 2);
    assert_eq!(
        said,
        "callvault: --broker-url-file, --ccfs-endpoint, --access-key, --secret-key-file: has no \
         default, and nobody is asked: say it, or answer on a terminal without --yes\n"
    );
    assert!(!desk.folder().join("callvault.toml").exists());
    for (wrong, why) in [
        ("init --tenant a/b", "--tenant"),
        ("init --time-zone Berlin", "no IANA time zone"),
        ("init --ccfs-endpoint ccfs.example.com", "no URL such as https://host:port"),
        ("init --ccfs-ca-file nowhere.pem", "cannot read nowhere.pem: No such file"),
        ("init --secret-key-file nowhere", "cannot read nowhere: No such file"),
        ("init --store-access-key-id-file amqp-url", "--store-secret-access-key-file"),
    ] {
        let said = desk.told(wrong, &[], 2);
        assert!(said.contains(why), "{wrong}: {said}");
    }
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let desk = empty();
    desk.file("callvault.toml", "# mine\n");
    let said = desk.told(TOLD, &[], 2);
    assert!(said.contains("callvault.toml: is there already, and is not replaced"), "{said}");
    assert_eq!(fs::read_to_string(desk.folder().join("callvault.toml")).unwrap(), "# mine\n");
}

#[test]
fn a_folder_that_gives_its_group_on_lets_that_group_read() {
    let desk = empty();
    fs::set_permissions(desk.folder(), Permissions::from_mode(0o2750)).unwrap();
    desk.printed(&format!("{TOLD} --no-check"), &[]);
    assert_eq!(mode(&desk.folder().join("callvault.toml")), 0o640);
}

#[test]
fn the_reference_is_every_key() {
    let printed = empty().printed("init --reference", &[]);
    assert_eq!(printed, include_str!("../../../config/callvault.toml"));
}
