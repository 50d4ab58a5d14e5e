//! `callvault sign`: the request for one recording, as a curl command that sends it.

use std::path::Path;

use clap::Args;
use url::Url;

use super::Error;
use crate::ccfs::{Ask, Client, SignedRequest};
use crate::clock;
use crate::config::{self, Config, Tenant};
use crate::request::{CallId, FileName};
use crate::shell::quoted;

/// Whose recording, and which.
#[derive(Debug, Args)]
pub struct Sign {
    /// A tenant of the configuration.
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    wanted: Wanted,
    /// Also print, on stderr, the text that is signed.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Wanted {
    /// The call's id, up to 25 characters.
    #[arg(long, value_name = "ID", value_parser = |text: &str| CallId::new(text))]
    call_id: Option<CallId>,
    /// The file's name as CC-FS knows it, up to 225 characters.
    #[arg(long, value_name = "NAME", value_parser = |text: &str| FileName::new(text))]
    file_name: Option<FileName>,
}

/// What goes to stdout, and to stderr.
pub struct Signed {
    pub command: String,
    pub notes: String,
}

/// Signs; sends nothing.
///
/// # Errors
/// The tenant is not configured, or its settings cannot be used.
pub fn run(config: &Config, asked: &Sign) -> Result<Signed, Error> {
    let tenant = tenant(config, &asked.tenant)?;
    let failed =
        |what: &dyn std::fmt::Display| Error::Setup(format!("tenant {}: {what}", tenant.id));
    let client = Client::new(&tenant.ccfs, &tenant.access_key, &tenant.secret_key, 1)
        .map_err(|error| failed(&error))?;
    let ask = Ask {
        call_id: asked.wanted.call_id.as_ref(),
        file_name: asked.wanted.file_name.as_ref(),
        cc_id: &tenant.cc_id,
    };
    let signed = client.sign(&ask, clock::now()).map_err(|error| failed(&error))?;
    let mut notes = String::new();
    if asked.verbose {
        notes += &format!("What is signed, line by line:\n{}\n", signed.canonical());
    }
    if tenant.ccfs.proxy.as_ref().is_some_and(|proxy| proxy.password().is_some()) {
        notes += "The proxy's password is a secret and not shown: curl asks for it.\n";
    }
    Ok(Signed { command: curl(&signed, &tenant.ccfs), notes })
}

fn tenant<'a>(config: &'a Config, id: &str) -> Result<&'a Tenant, Error> {
    let found = config.tenants.iter().find(|tenant| tenant.id.as_str() == id);
    found.ok_or_else(|| {
        let known: Vec<_> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        Error::Setup(format!("no tenant {id:?} is configured; there are: {}", known.join(", ")))
    })
}

/// What curl has to be told to do as callvault does: ask with this request and no other, through
/// the configured proxy alone, trusting the configured CA, without what the user's own
/// configuration says.
fn curl(request: &SignedRequest, settings: &config::Ccfs) -> String {
    let mut options = vec![
        // It counts only as the first.
        "--disable".to_owned(),
        "--silent --show-error --http1.1 --globoff".to_owned(),
        format!("--connect-timeout {}", settings.connect_timeout.as_secs_f64()),
    ];
    if let Some(file) = &settings.ca_file {
        options.push(format!("--cacert {}", quoted(&absolute(file))));
    }
    options.extend(proxy(settings.proxy.as_ref()));
    for (name, value) in &request.headers {
        // curl counts the body itself, and comes to the same.
        if *name != "content-length" {
            let value = String::from_utf8_lossy(value.as_bytes());
            options.push(format!("--header {}", quoted(&format!("{name}: {value}"))));
        }
    }
    let body = String::from_utf8_lossy(&request.body);
    options.push(format!("--data-binary {}", quoted(&body)));
    options.push("--dump-header - --output recording".to_owned());
    options.push(quoted(request.url.as_str()));
    format!("curl {}\n", options.join(" \\\n  "))
}

/// Without one, curl would take that of the environment.
fn proxy(proxy: Option<&Url>) -> Vec<String> {
    let Some(url) = proxy else { return vec!["--noproxy '*'".to_owned()] };
    let mut plain = url.clone();
    // Neither can fail: only an http(s) URL with a host gets here.
    let _ = (plain.set_username(""), plain.set_password(None));
    let mut options = vec![format!("--proxy {}", quoted(plain.as_str()))];
    if !url.username().is_empty() {
        let user = percent_encoding::percent_decode_str(url.username()).decode_utf8_lossy();
        options.push(format!("--proxy-user {}", quoted(&user)));
    }
    options
}

fn absolute(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}
