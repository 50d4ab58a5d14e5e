//! What a request signs of its body: the hash, computed once while it was downloaded, or nothing.
//!
//! Left alone the SDK hashes a body in memory again for every attempt. It must never know more
//! than the hash: what it is the hash of is the caller's promise, and the store checks it.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};

use super::Sha256Digest;
use crate::crash::{self, Point};

/// What `x-amz-content-sha256` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignedBody {
    Hash(Sha256Digest),
    /// `UNSIGNED-PAYLOAD`: a checksum proves the body (`proof`).
    Unsigned,
}

impl Intercept for SignedBody {
    fn name(&self) -> &'static str {
        "SignedBody"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let signed = match self {
            Self::Hash(hash) => PayloadSigningOverride::Precomputed(hex::encode(hash)),
            Self::Unsigned => PayloadSigningOverride::UnsignedPayload,
        };
        cfg.interceptor_state().store_put(signed);
        Ok(())
    }

    fn read_after_transmit(
        &self,
        _: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        crash::point(Point::PutSent);
        Ok(())
    }
}
