//! The hash of a body, computed once while it was downloaded, as what the request signs.
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

/// Makes `x-amz-content-sha256` this hash.
#[derive(Debug)]
pub(super) struct SignedBody(pub(super) Sha256Digest);

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
        let hash = PayloadSigningOverride::Precomputed(hex::encode(self.0));
        cfg.interceptor_state().store_put(hash);
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
