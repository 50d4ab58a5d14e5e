//! HTTPS for the simulator: a CA of its own and a server certificate under it, or one that is both.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

/// What the server shows; `ca.pem` holds who vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// A server's, under a CA.
    UnderCa,
    /// The same, which vouches for itself: of the CA nothing is known.
    Leaf,
    /// The same, of a year ago.
    LeafExpired,
    /// The same, for another server.
    LeafElsewhere,
    /// A CA's own, as `openssl req -x509` makes it.
    SelfSigned,
    /// The same, of a year ago.
    Expired,
    /// The same, for another server.
    Elsewhere,
    /// The same, with a common name and no alternative names.
    CommonName,
    /// The same, for another server.
    CommonNameElsewhere,
}

pub struct Tls {
    pub acceptor: TlsAcceptor,
    /// Holds `ca.pem`.
    pub folder: tempfile::TempDir,
}

pub fn tls(certificate: Certificate) -> Tls {
    let folder = tempfile::tempdir().expect("a folder for the CA");
    let (pem, shown, key) = match certificate {
        Certificate::UnderCa
        | Certificate::Leaf
        | Certificate::LeafExpired
        | Certificate::LeafElsewhere => under_ca(certificate),
        own => self_signed(own),
    };
    std::fs::write(folder.path().join("ca.pem"), pem).expect("the CA is written");
    Tls { acceptor: TlsAcceptor::from(Arc::new(config(shown, &key))), folder }
}

type Der = rustls::pki_types::CertificateDer<'static>;

/// The last is that of the system in `deploy/compose`.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "ccfs"];

fn named(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names")
}

fn under_ca(which: Certificate) -> (String, Der, KeyPair) {
    let mut params = named(&[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(params, key).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let mut server = named(match which {
        Certificate::LeafElsewhere => &["ccfs.example.com"],
        _ => &NAMES,
    });
    if which == Certificate::LeafExpired {
        server.not_after = rcgen::date_time_ymd(2025, 1, 1);
    }
    // OpenSSL takes a certificate for self-signed whose name is that of its issuer.
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let server = server.signed_by(&key, &ca).expect("a certificate");
    let vouches = if which == Certificate::UnderCa { ca.pem() } else { server.pem() };
    (vouches, server.der().clone(), key)
}

fn self_signed(which: Certificate) -> (String, Der, KeyPair) {
    let (names, common_name): (&[_], _) = match which {
        Certificate::Elsewhere => (&["ccfs.example.com"], "localhost"),
        Certificate::CommonName => (&[], "LocalHost"),
        Certificate::CommonNameElsewhere => (&[], "localhost.example.com"),
        _ => (&NAMES, "ccfs"),
    };
    let mut params = named(names);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    if which == Certificate::Expired {
        params.not_after = rcgen::date_time_ymd(2025, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let own = params.self_signed(&key).expect("a certificate");
    (own.pem(), own.der().clone(), key)
}

fn config(shown: Der, key: &KeyPair) -> rustls::ServerConfig {
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_no_client_auth()
        .with_single_cert(vec![shown], key)
        .expect("the key is the certificate's")
}
