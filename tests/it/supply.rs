//! What builds the program, wherever it is built, is of versions that are written down and agree.

use std::path::Path;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const WORKFLOWS: [&str; 2] = [".github/workflows/ci.yml", ".github/workflows/release.yml"];

#[test]
fn everything_builds_with_the_oldest_rust_that_is_promised() {
    let cargo: toml::Table = file("Cargo.toml").parse().expect("TOML");
    let rust = cargo["package"]["rust-version"].as_str().expect("a version");
    assert!(file("Dockerfile").contains(&format!("\nARG RUST={rust}\n")));
    for workflow in WORKFLOWS {
        let text = file(workflow);
        let images = text.split("rust:").skip(1);
        let versions: Vec<_> = images.map(|rest| rest.split('-').next()).collect();
        assert_eq!(versions, [Some(rust)], "{workflow}");
    }
}

#[test]
fn the_actions_of_workflows_are_named_by_commit_and_their_commands_are_there() {
    let makefile = file("Makefile");
    let mut actions = 0;
    for workflow in WORKFLOWS {
        for line in file(workflow).lines() {
            let line = line.trim_start().trim_start_matches("- ");
            if let Some(action) = line.strip_prefix("uses: ") {
                let (_, commit) = action.split_once('@').expect("a name and a commit");
                let (commit, version) = commit.split_once(" # v").expect("its version beside it");
                assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
                assert_eq!(version.split('.').count(), 3, "{action}");
                actions += 1;
            }
            let words = line.strip_prefix("run: make ").unwrap_or_default().split(' ');
            for target in words.filter(|word| !word.is_empty() && !word.contains('=')) {
                assert!(
                    makefile.contains(&format!("\n{target}: ## ")),
                    "{workflow}: make {target}"
                );
            }
        }
    }
    assert!(actions > 8, "only {actions} actions were found");
    assert!(file(WORKFLOWS[0]).contains("run: .ci/run\n"));
}

#[test]
fn the_image_and_the_package_are_built_by_the_same_tool() {
    let tool = file(".ci/tool");
    let (_, version) = tool.split_once("build_crate cargo-auditable ").expect("a version");
    let version = version.split(';').next().expect("a split has a first part");
    assert!(
        file("Dockerfile").contains(&format!("cargo install --locked cargo-auditable@{version}\n"))
    );
    assert!(file(".ci/program").contains(" RUSTC_WORKSPACE_WRAPPER=cargo-auditable\n"));
    for (path, times) in [("Dockerfile", 2), ("Makefile", 1)] {
        let text = file(path);
        assert_eq!(
            text.matches(".ci/program\n").count() + text.matches(".ci/program \\\n").count(),
            times,
            "{path}"
        );
        assert!(!text.contains(" build --release "), "{path}");
    }
}
