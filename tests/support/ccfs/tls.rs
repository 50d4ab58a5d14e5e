//! HTTPS for the simulator: a CA of its own and a server certificate under it.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

pub(super) struct Tls {
    pub acceptor: TlsAcceptor,
    /// Holds `ca.pem`.
    pub folder: tempfile::TempDir,
}

/// A CA, written to a folder, and a server that it vouches for.
pub(super) fn tls() -> Tls {
    let folder = tempfile::tempdir().expect("a folder for the CA");
    let (pem, config) = certificates();
    std::fs::write(folder.path().join("ca.pem"), pem).expect("the CA is written");
    Tls { acceptor: TlsAcceptor::from(Arc::new(config)), folder }
}

fn certificates() -> (String, rustls::ServerConfig) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(params, key).expect("a CA");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().expect("a key");
    let mut server = CertificateParams::new(names).expect("names");
    // OpenSSL takes a certificate for self-signed whose name is that of its issuer.
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let server = server.signed_by(&key, &ca);
    let chain = vec![server.expect("a certificate").der().clone()];
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key is the certificate's");
    (ca.pem(), config)
}
