//! What a first configuration needs to know: told by options, or asked on a terminal.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{self, PathBuf};

use clap::Args;
use dialoguer::{Input, Password};
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::cli::Error;
use crate::request::{CcId, TenantId};

/// What a RabbitMQ on this machine has from the start.
const BROKER: (&str, &str) = ("amqp://127.0.0.1:5672/%2f", "guest");

#[derive(Debug, Args)]
pub struct Options {
    /// A file with RabbitMQ's URL, its user and password in it: amqps://user:password@host:5671/%2f.
    #[arg(long, value_name = "FILE", value_parser = readable)]
    broker_url_file: Option<PathBuf>,
    /// Where CC-FS is asked, https://host:port; another one belongs into the file, later.
    #[arg(long, value_name = "URL", value_parser = web)]
    ccfs_endpoint: Option<String>,
    /// The CA of CC-FS's certificate, or the certificate itself, as PEM. [default: a public CA]
    #[arg(long, value_name = "FILE", value_parser = pem)]
    ccfs_ca_file: Option<String>,
    /// The tenant, as messages and keys name it.
    #[arg(long, value_name = "ID", value_parser = tenant)]
    tenant: Option<String>,
    /// The tenant's access key (AK) of CC-FS.
    #[arg(long, value_name = "AK")]
    access_key: Option<String>,
    /// A file with the tenant's secret key (SK) of CC-FS.
    #[arg(long, value_name = "FILE", value_parser = readable)]
    secret_key_file: Option<PathBuf>,
    /// The call centre, where a message names none. [default: 1]
    #[arg(long, value_name = "ID", value_parser = centre)]
    cc_id: Option<String>,
    /// The tenant's time zone, whose days are in the keys: Europe/Moscow, say. [default: the machine's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<String>,
    /// The S3 server, https://host:port. [default: that of AWS]
    #[arg(long, value_name = "URL", value_parser = web)]
    store_endpoint: Option<String>,
    /// The store's region. [default: us-east-1]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// The bucket for recordings, which has to be there.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// A file with the store's access key ID. [default: keys as the AWS SDK finds them: in the
    /// environment, or those of the instance's or the pod's role]
    #[arg(long, value_name = "FILE", value_parser = readable, requires = "store_secret_access_key_file")]
    store_access_key_id_file: Option<PathBuf>,
    /// A file with the store's secret access key.
    #[arg(long, value_name = "FILE", value_parser = readable, requires = "store_access_key_id_file")]
    store_secret_access_key_file: Option<PathBuf>,
    /// Ask nothing: take the default of what has one.
    #[arg(long, short)]
    yes: bool,
    /// Do not try what was written.
    #[arg(long)]
    pub no_check: bool,
    /// Print every key with its default and what it is for, and do nothing else.
    #[arg(long, exclusive = true)]
    pub reference: bool,
}

/// A secret in a file, which is there, or to be made of what was typed.
pub struct Secret {
    pub file: PathBuf,
    pub typed: Option<SecretString>,
}

/// Empty where the configuration is to do without.
pub struct Answers {
    pub broker_url: Secret,
    pub ccfs_endpoint: String,
    pub ccfs_ca_file: String,
    pub tenant: String,
    pub access_key: String,
    pub secret_key: Secret,
    pub cc_id: String,
    pub time_zone: String,
    pub store_endpoint: String,
    pub region: String,
    pub bucket: String,
    /// ID and secret.
    pub store_keys: Option<[Secret; 2]>,
}

impl Answers {
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        [&self.broker_url, &self.secret_key].into_iter().chain(self.store_keys.iter().flatten())
    }
}

impl Options {
    /// What was told, and for the rest what is answered, or what is usual.
    ///
    /// `folder`: where typed secrets will be.
    ///
    /// # Errors
    /// What is missing, all at once, where nobody is asked; the terminal is gone.
    pub fn answers(self, folder: PathBuf) -> Result<Answers, Error> {
        let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        let mut asker = Asker { asks: terminal && !self.yes, folder, missing: Vec::new() };
        let answers = self.answered(&mut asker).map_err(|error| {
            Error::Setup(format!("an answer: {error}; --help names an option for each"))
        })?;
        if asker.missing.is_empty() {
            return Ok(answers);
        }
        let missing = asker.missing.join(", ");
        Err(Error::Setup(format!(
            "{missing}: has no default, and nobody is asked: say it, or answer on a terminal without --yes"
        )))
    }

    fn answered(self, to: &mut Asker) -> io::Result<Answers> {
        let broker_url = match self.broker_url_file {
            None if to.asks => to.typed("broker-url", broker()?),
            told => to.secret((told, "--broker-url-file"), "", "broker-url")?,
        };
        let ccfs_endpoint = to.text(
            (self.ccfs_endpoint, "--ccfs-endpoint"),
            ("CC-FS, https://host:port", None, web),
        )?;
        let ccfs_ca_file = to.text(
            (self.ccfs_ca_file, "--ccfs-ca-file"),
            ("The CA of its certificate, a PEM file (empty: a public CA)", Some(""), pem),
        )?;
        let tenant = to.text(
            (self.tenant, "--tenant"),
            ("Tenant, as messages and keys name it", None, tenant),
        )?;
        let access_key = to
            .text((self.access_key, "--access-key"), ("Its access key (AK) of CC-FS", None, any))?;
        let secret_key = to.secret(
            (self.secret_key_file, "--secret-key-file"),
            "Its secret key (SK)",
            &format!("{tenant}-secret-key"),
        )?;
        let cc_id = to.text(
            (self.cc_id, "--cc-id"),
            ("Its call centre, where a message names none", Some("1"), centre),
        )?;
        let here = TimeZone::system();
        let time_zone = to.text(
            (self.time_zone, "--time-zone"),
            ("Its time zone, whose days are in the keys", here.iana_name().or(Some("UTC")), zone),
        )?;
        let store_endpoint = to.text(
            (self.store_endpoint, "--store-endpoint"),
            ("S3, https://host:port (empty: AWS)", Some(""), web),
        )?;
        let region = to.text((self.region, "--region"), ("Its region", Some("us-east-1"), any))?;
        let bucket =
            to.text((self.bucket, "--bucket"), ("Bucket, which has to be there", None, any))?;
        let store_keys =
            to.store_keys(self.store_access_key_id_file.zip(self.store_secret_access_key_file))?;
        Ok(Answers {
            broker_url,
            ccfs_endpoint,
            ccfs_ca_file,
            tenant,
            access_key,
            secret_key,
            cc_id,
            time_zone,
            store_endpoint,
            region,
            bucket,
            store_keys,
        })
    }
}

/// What is asked, what is usual (empty: to do without; `None`: it has to be answered), and what makes the
/// answer a good one.
type Question<'a> = (&'a str, Option<&'a str>, Look);

/// The answer as it is written down, or what is wrong with it.
type Look = fn(&str) -> Result<String, String>;

/// Answers what no option told.
struct Asker {
    /// Whether there is somebody to ask.
    asks: bool,
    /// Where typed secrets will be.
    folder: PathBuf,
    /// The options that would have told what nobody knows.
    missing: Vec<&'static str>,
}

impl Asker {
    fn text(
        &mut self,
        (told, option): (Option<String>, &'static str),
        question: Question<'_>,
    ) -> io::Result<String> {
        match (told, question.1) {
            (Some(told), _) => Ok(told),
            (None, _) if self.asks => ask(question),
            (None, Some(usual)) => Ok(usual.to_owned()),
            (None, None) => {
                self.missing.push(option);
                Ok(String::new())
            }
        }
    }

    fn secret(
        &mut self,
        (told, option): (Option<PathBuf>, &'static str),
        question: &str,
        name: &str,
    ) -> io::Result<Secret> {
        match told {
            Some(file) => Ok(there(file)),
            None if self.asks => Ok(self.typed(name, password(question)?)),
            None => {
                self.missing.push(option);
                Ok(self.typed(name, SecretString::default()))
            }
        }
    }

    fn store_keys(&self, told: Option<(PathBuf, PathBuf)>) -> io::Result<Option<[Secret; 2]>> {
        if let Some((id, key)) = told {
            return Ok(Some([id, key].map(there)));
        }
        if !self.asks {
            return Ok(None);
        }
        let id = ask(("Its access key ID (empty: keys as the AWS SDK finds them)", Some(""), any))?;
        if id.is_empty() {
            return Ok(None);
        }
        let key = password("Its secret access key")?;
        let typed = |name, secret| self.typed(&format!("store-{name}"), secret);
        Ok(Some([typed("access-key-id", id.into()), typed("secret-access-key", key)]))
    }

    fn typed(&self, name: &str, secret: SecretString) -> Secret {
        Secret { file: self.folder.join(name), typed: Some(secret) }
    }
}

fn there(file: PathBuf) -> Secret {
    Secret { file, typed: None }
}

/// Until the answer is a good one.
fn ask((question, usual, look): Question<'_>) -> io::Result<String> {
    let input = Input::<String>::new()
        .with_prompt(question)
        .allow_empty(usual == Some(""))
        .validate_with(|text: &String| match text.trim() {
            // Only where that is allowed.
            "" => Ok(()),
            text => look(text).map(drop),
        });
    let input = match usual {
        None | Some("") => input,
        Some(usual) => input.default(usual.to_owned()),
    };
    let text = input.interact_text()?;
    match text.trim() {
        "" => Ok(String::new()),
        // A file may have gone since it was looked at.
        text => look(text).map_err(io::Error::other),
    }
}

/// Not shown while it is typed.
fn password(question: &str) -> io::Result<SecretString> {
    Ok(Password::new().with_prompt(format!("{question}, not shown")).interact()?.into())
}

/// The broker's URL, with the user and password in it.
fn broker() -> io::Result<SecretString> {
    let (place, user) = BROKER;
    let typed = ask(("RabbitMQ, amqps://host:5671/virtual-host", Some(place), amqp))?;
    let mut url = Url::parse(&typed).expect("it was looked at");
    if url.username().is_empty() {
        let user = ask(("Its user", Some(user), any))?;
        let password = password("The user's password")?;
        let set =
            url.set_username(&user).and_then(|()| url.set_password(Some(password.expose_secret())));
        set.expect("it has a host");
    }
    Ok(String::from(url).into())
}

fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn tenant(text: &str) -> Result<String, String> {
    TenantId::new(text).map(|id| id.to_string()).map_err(|error| error.to_string())
}

fn centre(text: &str) -> Result<String, String> {
    CcId::new(text).map(|id| id.to_string()).map_err(|error| error.to_string())
}

fn zone(text: &str) -> Result<String, String> {
    match TimeZone::get(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("is no IANA time zone: write a name such as Europe/Moscow".to_owned()),
    }
}

fn web(text: &str) -> Result<String, String> {
    url(text, &["https", "http"])
}

fn amqp(text: &str) -> Result<String, String> {
    url(text, &["amqps", "amqp"])
}

fn url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let named = |url: &Url| url.host_str().is_some_and(|host| !host.is_empty());
    let good = |url: &Url| schemes.contains(&url.scheme()) && named(url);
    match Url::parse(text).ok().filter(good) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("is no URL such as {}://host:port", schemes[0])),
    }
}

fn pem(text: &str) -> Result<String, String> {
    let path = readable(text)?.into_os_string().into_string();
    path.map_err(|_| format!("the path of {text} is not UTF-8"))
}

/// Its whole path, since nobody knows in which folder a worker will be started.
fn readable(text: &str) -> Result<PathBuf, String> {
    let whole = File::open(text).and_then(|_| path::absolute(text));
    whole.map_err(|error| format!("cannot read {text}: {error}"))
}
