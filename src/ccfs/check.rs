//! Whether each endpoint of a tenant would answer a worker: name, connection, certificate,
//! firewall, signature, clock, and 'no data' for a recording that surely does not exist. Then whether
//! it would make an index, which archiving does not need: what is wrong with that is no more than a
//! note.

use std::time::Duration;

use reqwest::{Response, header};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::client::{Client, no_secret, text_of, unreachable};
use super::connect::{Endpoint, NO_TLS};
use super::download::root_cause;
use super::question::{Ask, Question};
use super::skew::Clock;
use super::span::Span;
use crate::clock;
use crate::config;
use crate::dialect;
use crate::failure::{Class, Failure, Reason};
use crate::finding::{Finding, Verdict};
use crate::request::{CallId, CcId};
use crate::trust;

/// A call of 1970: the form is right, and no call centre can have had it.
pub const NO_CALL: &str = "1-0";

const NAME: &str = "name";
const CONNECTION: &str = "connection";
const CERTIFICATE: &str = "certificate";
const ANSWER: &str = "answer";
const SIGNATURE: &str = "signature";
const CLOCK: &str = "clock";
const NO_DATA: &str = "no data";
const INDEX: &str = "index";

/// How long an answer to what is not needed is waited for, at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found at one endpoint.
pub struct Checked {
    /// Host and port.
    pub endpoint: String,
    pub findings: Vec<Finding>,
}

impl Client {
    /// Asks every endpoint for a recording that does not exist. `settings`: what this client is of.
    pub async fn check(&self, settings: &config::Ccfs, cc_id: &CcId) -> Vec<Checked> {
        // Names are resolved there.
        let proxied = settings.proxy.is_some();
        let mut all = Vec::new();
        for endpoint in &self.0.way.endpoints {
            let mut findings = Vec::new();
            if config::goes_plain(&endpoint.url) {
                findings.push(Finding::in_the_clear(
                    &endpoint.name,
                    "recordings",
                    settings.allow_plain,
                    "write https:// in ccfs.endpoints",
                ));
            }
            self.check_endpoint(endpoint, cc_id, proxied, &mut findings).await;
            all.push(Checked { endpoint: endpoint.name.clone(), findings });
        }
        all
    }

    async fn check_endpoint(
        &self,
        endpoint: &Endpoint,
        cc_id: &CcId,
        proxied: bool,
        findings: &mut Vec<Finding>,
    ) {
        let before = findings.len();
        self.ask_endpoint(endpoint, cc_id, proxied, findings).await;
        let failed = findings.iter().any(|finding| finding.verdict == Verdict::Failed);
        if failed
            && !proxied
            && endpoint.url.scheme() == "http"
            && dialect::speaks_tls(&endpoint.url).await
        {
            let seen = format!("what answers at {} speaks TLS", endpoint.name);
            findings.truncate(before);
            findings.push(Finding::failed(CONNECTION, seen, "write https:// in ccfs.endpoints"));
        }
    }

    async fn ask_endpoint(
        &self,
        endpoint: &Endpoint,
        cc_id: &CcId,
        proxied: bool,
        findings: &mut Vec<Finding>,
    ) {
        if !proxied && let Some(found) = resolve(endpoint).await {
            let resolved = found.advice.is_none();
            findings.push(found);
            if !resolved {
                return;
            }
        }
        let call_id = CallId::new(NO_CALL).expect("it is a call id");
        let ask = Ask { call_id: Some(&call_id), file_name: None, cc_id };
        let signed = self.signed(endpoint, &Question::recording(&ask), clock::now());
        let answer = match signed.map_err(|error| no_secret(&error)) {
            Ok(request) => self.send(request, || {}).await,
            Err(failure) => {
                let advice = "make the file of secret_key_file readable, with the SK in it";
                findings.push(Finding::failed(SIGNATURE, failure.detail, advice));
                return;
            }
        };
        match answer {
            Ok(Ok(response)) => {
                findings.push(Finding::well(CONNECTION, endpoint.name.as_str()));
                if endpoint.url.scheme() == "https" {
                    findings.push(Finding::well(CERTIFICATE, "trusted, and for this host"));
                }
                let accepted = self.judge_answer(response, findings).await;
                findings.push(match accepted {
                    true => index(self.try_index(endpoint).await.err().as_ref()),
                    false => Finding::skipped(INDEX, "without an answer of CC-FS"),
                });
            }
            Ok(Err(error)) => findings.extend(not_connected(&root_cause(&error).to_string())),
            Err(failure) => {
                let advice = "CC-FS took the request and did not answer it: look there, and at \
                              what stands between";
                findings.push(Finding::well(CONNECTION, endpoint.name.as_str()));
                findings.push(Finding::failed(ANSWER, failure.detail, advice));
            }
        }
    }

    /// Whether it is CC-FS that answered, and took the signature.
    async fn judge_answer(&self, response: Response, findings: &mut Vec<Finding>) -> bool {
        let date = text_of(response.headers(), &header::DATE);
        let clock = Clock::of(date, clock::now());
        let failure = self.judge(response).await.err();
        let refused = failure.as_ref().is_some_and(|it| it.reason == Reason::CCFS_UNAUTHORIZED);
        let signature = signature(failure.as_ref(), &clock);
        let accepted = signature.verdict == Verdict::Well;
        findings.push(signature);
        findings.push(match clock {
            Clock::Agrees => Finding::well(CLOCK, "agrees with that of CC-FS"),
            Clock::Unknown => Finding::skipped(CLOCK, "the answer has no Date"),
            Clock::Off(how) if refused => Finding::failed(CLOCK, how, SET_CLOCK),
            Clock::Off(how) => Finding::note(CLOCK, how, SET_CLOCK),
        });
        findings.push(no_data(failure.as_ref()));
        accepted
    }

    /// Asks for an index in which there is nothing.
    async fn try_index(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        let question = self.index(&Span::LONG_AGO);
        let request = self.signed(endpoint, &question, clock::now());
        let request = request.map_err(|error| no_secret(&error))?;
        let asked = async {
            let sent = self.send(request, || {}).await?;
            self.ordered(sent.map_err(|error| unreachable(endpoint, 1, error))?).await
        };
        let silent = |_| {
            let detail = format!("CC-FS sent nothing for {PATIENCE:?}");
            Err(Failure::new(Class::Unavailable, Reason::CCFS_TIMEOUT, detail))
        };
        timeout(PATIENCE, asked).await.unwrap_or_else(silent).map(drop)
    }
}

const SET_CLOCK: &str = "set the clock of this machine (NTP): CC-FS refuses signatures whose time \
                         is off";

/// The name in DNS; `None` for an address, which needs none.
async fn resolve(endpoint: &Endpoint) -> Option<Finding> {
    let host = endpoint.url.domain()?;
    let port = endpoint.url.port_or_known_default().unwrap_or(443);
    let found = match lookup_host((host, port)).await {
        Ok(addresses) => {
            let mut addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            addresses.dedup();
            Finding::well(NAME, format!("{host} is {}", addresses.join(", ")))
        }
        Err(error) => {
            let advice = "correct ccfs.endpoints, or the name service of this machine";
            Finding::failed(NAME, format!("{host} has no address: {error}"), advice)
        }
    };
    Some(found)
}

/// A certificate that is refused was shown over a connection that stands.
fn not_connected(cause: &str) -> Vec<Finding> {
    if trust::is_no_tls(cause) {
        let advice = "write http:// in ccfs.endpoints, or name the port that speaks TLS";
        return vec![Finding::failed(CONNECTION, NO_TLS, advice)];
    }
    if let Some(advice) =
        trust::advice(cause, "ccfs.endpoints; ccfs.host sets the Host that is sent", "ccfs.ca_file")
    {
        let connected = Finding::well(CONNECTION, "stands");
        return vec![connected, Finding::failed(CERTIFICATE, cause, advice)];
    }
    let advice = "check host and port of ccfs.endpoints, that a firewall lets this machine out, \
                  and ccfs.proxy where one is needed";
    vec![Finding::failed(CONNECTION, cause, advice)]
}

/// Only CC-FS itself answers with a result code, and only where it has accepted the signature.
fn signature(failure: Option<&Failure>, clock: &Clock) -> Finding {
    let Some(failure) = failure else { return Finding::well(SIGNATURE, "accepted") };
    if failure.reason.is_result_code() {
        return Finding::well(SIGNATURE, "accepted");
    }
    if failure.reason == Reason::CCFS_FIREWALL {
        let advice = "have the address of this machine let through by whoever runs the firewall; \
                      a smaller max_concurrency of the tenant asks more softly";
        return Finding::failed(ANSWER, failure.detail.clone(), advice);
    }
    if failure.reason == Reason::CCFS_UNAUTHORIZED {
        return match clock {
            Clock::Off(how) => Finding::failed(SIGNATURE, format!("refused: {how}"), SET_CLOCK),
            _ => {
                let seen = format!("the key is refused: {}", failure.detail);
                let advice = "correct access_key and secret_key of the tenant; behind a load \
                              balancer also ccfs.host, which is signed; compare with `callvault \
                              sign --verbose`";
                Finding::failed(SIGNATURE, seen, advice)
            }
        };
    }
    let advice = "this is no answer of CC-FS: check ccfs.endpoints and what stands between";
    Finding::failed(ANSWER, failure.to_string(), advice)
}

/// Which code says that an account may not have an index is not known, and older releases make none:
/// whatever else came is shown.
fn index(failure: Option<&Failure>) -> Finding {
    let Some(failure) = failure else { return Finding::well(INDEX, "queryBillData is answered") };
    let seen = format!("queryBillData: {failure}");
    match failure.class {
        Class::NotReady => Finding::well(INDEX, seen),
        Class::Throttled if failure.reason.is_result_code() => {
            Finding::note(INDEX, seen, "CC-FS is busy; check again later")
        }
        _ => Finding::note(
            INDEX,
            seen,
            "archiving does not need it; `index`, `audit` and --day do: have whoever runs CC-FS, or \
             what stands before it, let this account ask for it",
        ),
    }
}

fn no_data(failure: Option<&Failure>) -> Finding {
    match failure {
        None => Finding::note(
            NO_DATA,
            "CC-FS sent a recording for a call that cannot exist",
            "check that ccfs.endpoints is CC-FS: whatever is asked for may be answered so",
        ),
        Some(failure) if failure.reason.is_result_code() => {
            let seen = format!("{}: {}", failure.reason, failure.detail);
            match failure.class {
                Class::NotReady => Finding::well(NO_DATA, seen),
                Class::Permanent => Finding::failed(
                    NO_DATA,
                    seen,
                    "CC-FS does not like what it is asked: check cc_id of the tenant",
                ),
                _ => Finding::note(NO_DATA, seen, "CC-FS is busy; check again later"),
            }
        }
        Some(_) => Finding::skipped(NO_DATA, "without an answer of CC-FS"),
    }
}
