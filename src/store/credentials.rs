//! The configured keys, read anew for every request, so that a rotated file takes effect.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use secrecy::ExposeSecret;

use crate::config::{SecretError, StoreCredentials};

/// `access_key_id` and `secret_access_key`; a [`crate::config::Secret`] caches its file itself.
#[derive(Clone, Debug)]
pub(super) struct Configured(StoreCredentials);

impl Configured {
    pub(super) fn new(keys: StoreCredentials) -> Self {
        Self(keys)
    }

    /// The store refused them: files are to be read again.
    pub(super) fn refused(&self) {
        self.0.access_key_id.refresh_after_refusal();
        self.0.secret_access_key.refresh_after_refusal();
    }

    fn read(&self) -> Result<Credentials, SecretError> {
        let id = self.0.access_key_id.read()?;
        let secret = self.0.secret_access_key.read()?;
        Ok(Credentials::new(id.expose_secret(), secret.expose_secret(), None, None, "callvault"))
    }
}

impl ProvideCredentials for Configured {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.read().map_err(CredentialsError::provider_error))
    }
}
