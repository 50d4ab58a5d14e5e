//! Whom a TLS connection trusts: the CAs of this machine, those of a file besides, and a server
//! that the file names itself. Must know neither who connects nor the key that names the file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier as Platform;

use crate::config;

/// A file of CAs as it is now: once it is changed, it is another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaFile {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl CaFile {
    /// Looks at it; reads nothing.
    ///
    /// # Errors
    /// There is none, or it is not for us.
    pub fn look(path: &Path) -> io::Result<Self> {
        let seen = std::fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), bytes: seen.len(), modified: seen.modified().ok() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A file of CAs that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error(transparent)]
    Read(io::Error),
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

/// What servers can no longer show, as old scripts of OpenSSL make it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server's certificate is of X.509 version 1, which nobody takes any more: have one of \
     version 3 issued, with the server's name as its subjectAltName (openssl x509 -req -extfile)"
)]
struct VersionOne;

impl From<VersionOne> for Error {
    fn from(refused: VersionOne) -> Self {
        Self::Other(OtherError(Arc::new(refused)))
    }
}

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
    let provider = provider();
    let named = Named::new(named, &provider)?;
    let platform = match (platform(), &named) {
        (Ok(platform), _) => Some(platform),
        (Err(_), Some(_)) => None,
        (Err(error), None) => return Err(error),
    };
    let verifier = Verifier { platform, named, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// This machine's CAs, loaded once for all: there are many, and each has to be parsed.
fn platform() -> Result<Arc<Platform>, Error> {
    static LOADED: Mutex<Option<Arc<Platform>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(platform) = &*loaded {
        return Ok(Arc::clone(platform));
    }
    // Where there are none, there may be some at the next attempt.
    let platform = Arc::new(Platform::new(provider())?);
    *loaded = Some(Arc::clone(&platform));
    Ok(platform)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Trusts nobody but what is `named`: for those who never connect over TLS. Loading this machine's
/// CAs costs time, and fails where there are none.
///
/// # Errors
/// What is named is no certificate.
pub fn nobody_but(named: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    named.into_iter().try_for_each(|certificate| roots.add(certificate))?;
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[derive(Debug)]
struct Verifier {
    /// `None`: this machine has no CAs, and some are named.
    platform: Option<Arc<Platform>>,
    named: Option<Named>,
    provider: Arc<CryptoProvider>,
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
        provider: &Arc<CryptoProvider>,
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
    /// (CA:TRUE), or one whose CA is not named besides: whoever names exactly this one means this
    /// server. Its dates and its name count.
    fn verify(
        &self,
        shown: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = match self.alone.verify_server_cert(shown, &[], server_name, &[], now) {
            // Either comes after the dates were looked at, and before the name is.
            Err(error) if is_ca_as_server(&error) || is_unknown_issuer(&error) => {
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
            return named.verify(end_entity, server_name, now).map_err(explained);
        }
        let by_name = self.named.as_ref().map(|named| {
            named.alone.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )
        });
        let by_platform = || {
            let platform = self.platform.as_ref()?;
            Some(platform.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ))
        };
        let verdict = match by_name {
            Some(Ok(verified)) => Ok(verified),
            // Whoever knows the CA knows what is wrong.
            Some(Err(refused)) => match by_platform() {
                Some(Ok(verified)) => Ok(verified),
                Some(Err(error)) if !is_unknown_issuer(&error) => Err(error),
                _ => Err(refused),
            },
            None => {
                by_platform().unwrap_or_else(|| Err(Error::General("no CA is trusted".to_owned())))
            }
        };
        verdict.map_err(explained)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_wrong_name(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

fn is_unknown_issuer(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

fn is_ca_as_server(error: &Error) -> bool {
    is_of_webpki(error, "CaUsedAsEndEntity")
}

/// rustls has no kind of its own for some errors, and webpki's name themselves.
fn is_of_webpki(error: &Error, name: &str) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other))
        if other.0.to_string() == name)
}

/// What people can do about it, where rustls does not say.
fn explained(error: Error) -> Error {
    if is_ca_as_server(&error) {
        CaAsServer.into()
    } else if is_of_webpki(&error, "UnsupportedCertVersion") {
        VersionOne.into()
    } else {
        error
    }
}

/// Whether what a failed connection says is that the other side does not speak TLS at all.
pub fn is_no_tls(said: &str) -> bool {
    said.contains("InvalidContentType")
}

/// What to do about a certificate that is refused, if `said` is about one. `address` is the key that
/// names the server, `ca_file` the one that names CAs.
pub fn advice(said: &str, address: &str, ca_file: &str) -> Option<String> {
    if !said.contains("certificate") {
        return None;
    }
    Some(if said.contains("not valid for name") {
        format!("ask by the name that the certificate is for ({address})")
    } else if said.contains("expired") || said.contains("not valid yet") {
        "have the certificate renewed; and check the clock of this machine".to_owned()
    } else if said.contains("CA:TRUE") || said.contains("CaUsedAsEndEntity") {
        format!(
            "put this very certificate into {ca_file} (PEM), or have its CA issue one for the server"
        )
    } else {
        format!("name the CA that signed it in {ca_file} (PEM)")
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of version 1, for `localhost`, until the next century.
    pub(crate) const VERSION_ONE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBIzCBywIUGNLNU/5vrt0F6EtoOl8pxuSeyT8wCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODAwMTM0OVoYDzIxMjYxMTA0MDAxMzQ5
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATBjA/+eiIkTY55Kp8lnKZUUDX9bjWx4JV8XS+6foSHxSTOfO2sxihHFPU3h172
WTmPXQYkOfIBEl6i4WJnkGdxMAoGCCqGSM49BAMCA0cAMEQCIBW3zjInpszIVj8s
u/BjGpPbnzDpDySKi5pyY7/1zUfWAiAxMzoW50HODGxkCKh5aj0Y6USvRPfSMLhy
P+CfMoZZbA==
-----END CERTIFICATE-----
";

    #[test]
    fn a_certificate_of_version_one_is_told_named_or_not() {
        let shown = CertificateDer::from_pem_slice(VERSION_ONE.as_bytes()).unwrap();
        let provider = provider();
        let name = ServerName::try_from("localhost").unwrap();
        for named in [vec![shown.clone()], Vec::new()] {
            let platform = Some(platform().unwrap());
            let named = Named::new(named, &provider).unwrap();
            let verifier = Verifier { platform, named, provider: Arc::clone(&provider) };
            let verdict = verifier.verify_server_cert(&shown, &[], &name, &[], UnixTime::now());
            let error = verdict.unwrap_err().to_string();
            assert!(error.contains("subjectAltName"), "{error}");
        }
    }

    #[test]
    fn the_cas_of_this_machine_are_loaded_once() {
        assert!(Arc::ptr_eq(&platform().unwrap(), &platform().unwrap()));
    }
}
