//! Certificates of a node with a TLS listener.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::free_port;

/// How a node is reached over TLS; it asks for a client certificate of the same authority.
pub struct Tls {
    pub url: String,
    pub port: u16,
    pub ca_file: PathBuf,
    pub client_cert_file: PathBuf,
    pub client_key_file: PathBuf,
}

impl Tls {
    /// An authority, a certificate of the node for `localhost`, and one of a client.
    pub(super) fn generate(folder: &Path) -> Self {
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).expect("target/kit can be written");
            file
        };
        let mut authority = rcgen::CertificateParams::new([]).expect("no names");
        // Names that differ: Erlang takes a certificate whose issuer has its name as self-signed.
        authority.distinguished_name.push(rcgen::DnType::CommonName, "callvault test authority");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = authority.self_signed(&key).expect("a certificate").pem();
        let ca_file = write("ca.pem", certificate);
        let issuer = rcgen::Issuer::new(authority, key);
        let issue = |name: &str, file: &str| {
            let mut params = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            let key_file = write(&format!("{file}.key"), key.serialize_pem());
            (write(&format!("{file}.pem"), certificate.pem()), key_file)
        };
        issue("localhost", "server");
        let (client_cert_file, client_key_file) = issue("client", "client");
        let port = free_port();
        let url = format!("amqps://guest:guest@localhost:{port}/%2f");
        Self { url, port, ca_file, client_cert_file, client_key_file }
    }

    pub(super) fn config(&self, folder: &Path) -> String {
        let file = |name: &str| folder.join(name).display().to_string();
        format!(
            "listeners.ssl.local = 127.0.0.1:{}\n\
             ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
            self.port,
            self.ca_file.display(),
            file("server.pem"),
            file("server.key"),
        )
    }
}
