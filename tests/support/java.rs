//! Java with the AMQP library that the consumer in examples/consumers/java wants, where the machine
//! has a JDK. That is not fetched: nothing but that consumer needs it. The library is Debian's,
//! unpacked for the kit alone.

use std::process::{Command, Stdio};

use super::debian;

/// The oldest that the consumer is written for.
const OLDEST: u32 = 17;

/// Debian's packages, and in which file each has its library.
const LIBRARIES: [(&str, &str); 2] =
    [("librabbitmq-client-java", "amqp-client.jar"), ("libslf4j-java", "slf4j-api.jar")];

/// `java` with the library on its class path, which runs a source; or why there is none.
///
/// # Panics
/// The library cannot be fetched.
pub fn with_client() -> Result<Command, String> {
    // A source is run by the compiler, which a runtime alone does not have.
    let mut compiler = Command::new("javac");
    let output = compiler.arg("-version").stdin(Stdio::null()).output().ok();
    let output = output.filter(|output| output.status.success()).ok_or("no JDK here")?;
    let told = debian::show(&output);
    let version = told.trim().trim_start_matches("javac ");
    let major = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < OLDEST) {
        return Err(format!("the JDK, {version}, is older than {OLDEST}"));
    }
    let path = LIBRARIES.map(|(package, file)| {
        let library = debian::unpacked(package).join("usr/share/java").join(file);
        library.display().to_string()
    });
    let mut java = Command::new("java");
    java.args(["-cp", &path.join(":")]);
    Ok(java)
}
