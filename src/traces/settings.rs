//! What the standard variables of OpenTelemetry say (`OTEL_…`), as its specification has them: an
//! empty one is unset, and what cannot be used is warned of and left at its default.
//!
//! Pure: the environment is handed in. No warning quotes a value, since headers are secrets.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::otlp::Resource;
use super::sampler::Sampler;
use crate::config::{goes_plain, host_and_port};

/// What is appended to `OTEL_EXPORTER_OTLP_ENDPOINT`.
const PATH: &str = "v1/traces";

/// Where spans go, and which.
#[derive(Clone)]
pub struct Settings {
    pub endpoint: Url,
    /// Secrets, most often.
    pub headers: HeaderMap,
    /// Of one request.
    pub timeout: Duration,
    pub ca_file: Option<PathBuf>,
    pub sampler: Sampler,
    pub resource: Resource,
    /// Spans that wait to be exported, at most.
    pub queue: usize,
    /// Spans of one request, at most.
    pub batch: usize,
    /// How long a span waits for others to go with.
    pub delay: Duration,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({})", host_and_port(&self.endpoint))
    }
}

/// Reads them; `None` where nothing is to be exported. The second are warnings for people.
pub fn read(
    variables: impl Iterator<Item = (String, OsString)>,
) -> (Option<Settings>, Vec<String>) {
    let ours = variables.filter(|(name, _)| name.starts_with("OTEL_"));
    let mut variables = Variables { set: BTreeMap::new(), warnings: Vec::new() };
    for (name, value) in ours {
        match value.to_str().map(str::trim) {
            Some("") => {}
            Some(value) => drop(variables.set.insert(name, value.to_owned())),
            None => variables.warn(&name, "is not UTF-8, and is as if it were not set"),
        }
    }
    let settings = variables.settings();
    (settings, variables.warnings)
}

struct Variables {
    set: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl Variables {
    fn settings(&mut self) -> Option<Settings> {
        if self.is_disabled() {
            return None;
        }
        let endpoint = self.endpoint()?;
        if let Some((name, "grpc" | "http/json")) = self.of_traces("PROTOCOL") {
            self.warn(&name, "only http/protobuf is spoken, so that is what the endpoint gets");
        }
        if let Some((name, compression)) = self.of_traces("COMPRESSION")
            && compression != "none"
        {
            self.warn(&name, "nothing is compressed; leave it out, or write none");
        }
        let headers = self.headers();
        if !headers.is_empty() && goes_plain(&endpoint) {
            let place = host_and_port(&endpoint);
            let why = format!("{place} is asked without TLS: they can be read on their way");
            self.warn("OTEL_EXPORTER_OTLP_HEADERS", &why);
        }
        let milliseconds = |number| Duration::from_millis(number);
        let timeout = self.of_traces("TIMEOUT").map(|(name, _)| name);
        let timeout = timeout.and_then(|name| self.number(&name)).map_or(10_000, u64::from);
        let delay = self.number("OTEL_BSP_SCHEDULE_DELAY").map_or(5_000, u64::from);
        let queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(2_048);
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(512).min(queue);
        let sizes = [queue, batch].map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        Some(Settings {
            endpoint,
            headers,
            timeout: milliseconds(timeout),
            ca_file: self.of_traces("CERTIFICATE").map(|(_, path)| path.into()),
            sampler: self.sampler(),
            resource: self.resource(),
            queue: sizes[0],
            batch: sizes[1],
            delay: milliseconds(delay),
        })
    }

    fn is_disabled(&mut self) -> bool {
        let disabled = self.get("OTEL_SDK_DISABLED").map(str::to_ascii_lowercase);
        if disabled.as_ref().is_some_and(|word| word != "true" && word != "false") {
            self.warn("OTEL_SDK_DISABLED", "must be true or false; it counts as false");
        }
        let exporters = self.get("OTEL_TRACES_EXPORTER").unwrap_or("otlp").to_owned();
        let mut exporters = exporters.split(',').map(str::trim);
        if exporters.clone().all(|exporter| exporter != "none" && exporter != "otlp") {
            self.warn("OTEL_TRACES_EXPORTER", "only otlp and none are known; it counts as otlp");
        }
        disabled.is_some_and(|word| word == "true") || exporters.any(|exporter| exporter == "none")
    }

    fn endpoint(&mut self) -> Option<Url> {
        const COMMON: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (name, text) = self.of_traces("ENDPOINT")?;
        let mut url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        });
        match &mut url {
            Some(url) if name == COMMON => {
                let path = format!("{}/{PATH}", url.path().trim_end_matches('/'));
                url.set_path(&path);
            }
            Some(_) => {}
            None => self.warn(
                &name,
                "no traces are exported: write a URL as http://collector:4318, what is secret into \
                 OTEL_EXPORTER_OTLP_HEADERS",
            ),
        }
        url
    }

    fn headers(&mut self) -> HeaderMap {
        let Some((name, text)) = self.of_traces("HEADERS") else { return HeaderMap::new() };
        let (pairs, bad) = pairs(text);
        let mut headers = HeaderMap::new();
        let mut all_good = !bad;
        for (key, value) in pairs {
            match (HeaderName::from_str(&key), HeaderValue::from_str(&value)) {
                (Ok(key), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.append(key, value);
                }
                _ => all_good = false,
            }
        }
        if !all_good {
            self.warn(&name, "what of it is no key=value, with commas between, is left out");
        }
        headers
    }

    fn sampler(&mut self) -> Sampler {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(name) = self.get(NAME).map(str::to_owned) else { return Sampler::default() };
        let mut ratio = 1.0;
        if name.ends_with("traceidratio") {
            let given = self.get(ARGUMENT).map(f64::from_str);
            match given {
                Some(Ok(share)) if (0.0..=1.0).contains(&share) => ratio = share,
                None => {}
                Some(_) => self.warn(ARGUMENT, "must be a number from 0 to 1; it counts as 1"),
            }
        }
        Sampler::named(&name, ratio).unwrap_or_else(|| {
            let known = "always_on, always_off and traceidratio are known, each also with \
                         parentbased_ before it; it counts as parentbased_always_on";
            self.warn(NAME, known);
            Sampler::default()
        })
    }

    /// Who sends: what is set goes before what we say of ourselves.
    fn resource(&mut self) -> Resource {
        const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let mut told = BTreeMap::from([("service.name".to_owned(), "callvault".to_owned())]);
        told.insert("service.version".to_owned(), crate::metrics::VERSION.to_owned());
        let instance = format!("{:032x}", fastrand::u128(..));
        told.insert("service.instance.id".to_owned(), instance);
        let (pairs, bad) = self.get(NAME).map(pairs).unwrap_or_default();
        if bad {
            self.warn(NAME, "must be key=value, with commas between; all of it is left out");
        } else {
            told.extend(pairs);
        }
        if let Some(name) = self.get("OTEL_SERVICE_NAME") {
            told.insert("service.name".to_owned(), name.to_owned());
        }
        let library =
            [("name", "callvault"), ("language", "rust"), ("version", crate::metrics::VERSION)];
        for (key, value) in library {
            told.insert(format!("telemetry.sdk.{key}"), value.to_owned());
        }
        Resource(told.into_iter().collect())
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        let number = self.get(name)?.parse().ok().filter(|number| *number > 0);
        if number.is_none() {
            self.warn(name, "must be a whole number above 0; its default applies");
        }
        number
    }

    /// The variable of an exporter's setting: that for traces goes before that for all signals.
    fn of_traces(&self, setting: &str) -> Option<(String, &str)> {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];
        let mut names = names.map(|prefix| format!("{prefix}{setting}")).into_iter();
        names.find_map(|name| {
            let value = self.get(&name)?;
            Some((name, value))
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    fn warn(&mut self, name: &str, why: &str) {
        self.warnings.push(format!("{name}: {why}"));
    }
}

/// `key=value`, with commas, values percent-encoded; true if anything in it is not so.
fn pairs(text: &str) -> (Vec<(String, String)>, bool) {
    let mut pairs = Vec::new();
    let mut bad = false;
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let read =
            pair.split_once('=').and_then(|(key, value)| Some((decoded(key)?, decoded(value)?)));
        match read.filter(|(key, _)| !key.is_empty()) {
            Some(pair) => pairs.push(pair),
            None => bad = true,
        }
    }
    (pairs, bad)
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::sampler::Share;

    const ENDPOINT: (&str, &str) =
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel.example.com:4318/base/");

    fn read(variables: &[(&str, &str)]) -> (Option<Settings>, Vec<String>) {
        super::read(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    fn good(variables: &[(&str, &str)]) -> Settings {
        let (settings, warnings) = read(variables);
        assert_eq!(warnings, [""; 0]);
        settings.unwrap()
    }

    #[test]
    fn an_endpoint_turns_it_on_and_nothing_else_does() {
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret");
        for off in [
            &[][..],
            &[headers],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            let (settings, warnings) = read(off);
            assert!(settings.is_none() && warnings.is_empty(), "{off:?} {warnings:?}");
        }
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/own");
        assert_eq!(
            good(&[ENDPOINT]).endpoint.as_str(),
            "https://otel.example.com:4318/base/v1/traces"
        );
        assert_eq!(good(&[ENDPOINT, own]).endpoint.as_str(), own.1);
        let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert_eq!(good(&[bare]).endpoint.as_str(), "http://127.0.0.1:4318/v1/traces");
    }

    #[test]
    fn what_is_set_is_taken_and_that_for_traces_goes_first() {
        let settings = good(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=all"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=a%20b, x-more=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
            ("OTEL_SERVICE_NAME", "archive"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%2Cb"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ]);
        assert_eq!(settings.headers["api-key"], "a b");
        assert!(settings.headers["api-key"].is_sensitive() && settings.headers.len() == 2);
        assert_eq!(settings.timeout, Duration::from_millis(2500));
        assert_eq!(settings.ca_file, Some("/etc/ca.pem".into()));
        let share = Share::Ratio(0.25);
        assert_eq!(settings.sampler, Sampler { share, parent_based: true });
        assert_eq!((settings.queue, settings.batch), (100, 100));
        let told: BTreeMap<_, _> = settings.resource.0.into_iter().collect();
        assert_eq!(told["service.name"], "archive");
        assert_eq!(told["deployment.environment.name"], "a,b");
        assert!(told.contains_key("service.version") && told.contains_key("service.instance.id"));
    }

    #[test]
    fn what_cannot_be_used_is_warned_of_without_its_value() {
        let secret = "s3cret";
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "s3cret"),
            ("OTEL_TRACES_EXPORTER", "s3cret"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "s3cret:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://u:s3cret@otel.example.com"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a key=s3cret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "s3cret"),
            ("OTEL_TRACES_SAMPLER", "s3cret"),
            ("OTEL_RESOURCE_ATTRIBUTES", "s3cret"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ] {
            let (_, warnings) = read(&[ENDPOINT, (name, value)]);
            let [warning] = warnings.as_slice() else { panic!("{name}: {warnings:?}") };
            assert!(warning.starts_with(name) && !warning.contains(secret), "{warning}");
        }
        let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        let (settings, warnings) = read(&[ENDPOINT, ratio[0], ratio[1]]);
        assert_eq!(warnings.len(), 1);
        assert_eq!(settings.unwrap().sampler.share, Share::Ratio(1.0));
        let plain = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel.example.com:4318");
        let (settings, warnings) = read(&[plain, ("OTEL_EXPORTER_OTLP_HEADERS", "key=s3cret")]);
        assert!(settings.is_some() && warnings.len() == 1, "{warnings:?}");
    }
}
