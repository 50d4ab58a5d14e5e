//! Whom a TLS connection trusts: the CAs of this machine, those of a file besides, and a server
//! that the file names itself. Must know neither who connects nor the key that names the file.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier as Platform;

use crate::config;

/// A file of CAs that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error(transparent)]
    Read(std::io::Error),
    #[error("no certificate in PEM form")]
    Empty,
}

/// A server shows the certificate of a CA, and no file names it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server's certificate is that of a CA (CA:TRUE): name exactly this certificate in ca_file, \
     or have the CA issue one for the server (CA:FALSE, with its name)"
)]
struct CaAsServer;

impl From<CaAsServer> for Error {
    fn from(refused: CaAsServer) -> Self {
        // As an invalid certificate it would be shown by its name in Rust alone.
        Self::Other(OtherError(Arc::new(refused)))
    }
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// A file that cannot be read, or holds none.
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let pem = config::read_pem(path).map_err(CaError::Read)?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(CaError::Empty),
    }
}

/// Trusts this machine's CAs and what is `named`.
///
/// # Errors
/// What is named is no certificate; or nothing is, and this machine has no CAs.
pub fn tls(named: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let platform = Platform::new_with_extra_roots(named.iter().cloned(), Arc::clone(&provider))?;
    let verifier = Verifier { platform, named: Named::new(named, &provider)? };
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Trusts nobody: for those who never connect over TLS. Loading this machine's CAs costs time, and
/// fails where there are none.
///
/// # Errors
/// None of rustls' own versions suits its own algorithms.
pub fn nobody() -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

#[derive(Debug)]
struct Verifier {
    platform: Platform,
    named: Option<Named>,
}

/// Certificates that a file names, without the CAs of this machine.
#[derive(Debug)]
struct Named {
    certificates: Vec<CertificateDer<'static>>,
    alone: Arc<WebPkiServerVerifier>,
}

impl Named {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Option<Self>, Error> {
        if certificates.is_empty() {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        let alone = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        let alone = alone.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Some(Self { certificates, alone }))
    }

    /// A self-signed certificate that is used as it was made, as `openssl req -x509` makes it
    /// (CA:TRUE): whoever names exactly this one means this server. Its dates and its name count.
    fn verify(
        &self,
        shown: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = match self.alone.verify_server_cert(shown, &[], server_name, &[], now) {
            // It comes after the dates were looked at, and before the name is.
            Err(error) if is_ca_as_server(&error) => {
                let shown = ParsedCertificate::try_from(shown)?;
                verify_server_name(&shown, server_name).map(|()| ServerCertVerified::assertion())
            }
            verdict => verdict,
        };
        match verdict {
            Err(error) if is_wrong_name(&error) && is_common_name(server_name, shown) => {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }
}

/// Whether `name` is the common name of a certificate without alternative names, which many still
/// are and curl takes, too. Looked for by its bytes: whoever names the certificate vouches for it.
fn is_common_name(name: &ServerName<'_>, certificate: &[u8]) -> bool {
    // Object identifiers: 2.5.29.17 and 2.5.4.3.
    const ALTERNATIVE_NAME: &[u8] = b"\x06\x03\x55\x1d\x11";
    const COMMON_NAME: &[u8] = b"\x06\x03\x55\x04\x03";
    let find = |mark: &[u8]| certificate.windows(mark.len()).rposition(|bytes| bytes == mark);
    let value = find(COMMON_NAME).map(|at| &certificate[at + COMMON_NAME.len()..]);
    match (find(ALTERNATIVE_NAME), value) {
        (None, Some([_, length, value @ ..])) => {
            let value = value.get(..usize::from(*length));
            value.is_some_and(|value| value.eq_ignore_ascii_case(name.to_str().as_bytes()))
        }
        _ => false,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_named = |named: &&Named| named.certificates.iter().any(|one| one == end_entity);
        if let Some(named) = self.named.as_ref().filter(is_named) {
            return named.verify(end_entity, server_name, now);
        }
        let platform = &self.platform;
        platform
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| if is_ca_as_server(&error) { CaAsServer.into() } else { error })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.platform.supported_verify_schemes()
    }
}

fn is_wrong_name(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

/// rustls has no kind of its own for it, and webpki's names itself.
fn is_ca_as_server(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other))
        if other.0.to_string() == "CaUsedAsEndEntity")
}
