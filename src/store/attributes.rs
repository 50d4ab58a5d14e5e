//! What every new object gets from the configuration: encryption, class, tags, retention.

use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::types::{ObjectLockMode, ServerSideEncryption, StorageClass};
use aws_smithy_types::DateTime;
use url::form_urlencoded;

use crate::clock;
use crate::config::{LockMode, ObjectLock, Sse, Store};

/// The SDK has a builder for each operation, alike in these setters but in no trait.
macro_rules! with_attributes {
    ($request:expr, $settings:expr) => {{
        let settings = $settings;
        let (sse, key_id) = encryption(settings.sse.as_ref());
        let (lock_mode, retain_until) = retention(settings.object_lock);
        $request
            .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(key_id)
            .set_tagging(tagging(settings))
            .set_object_lock_mode(lock_mode)
            .set_object_lock_retain_until_date(retain_until)
    }};
}

pub(super) fn on_put(request: PutObjectFluentBuilder, settings: &Store) -> PutObjectFluentBuilder {
    with_attributes!(request, settings)
}

pub(super) fn on_create(
    request: CreateMultipartUploadFluentBuilder,
    settings: &Store,
) -> CreateMultipartUploadFluentBuilder {
    with_attributes!(request, settings)
}

fn encryption(sse: Option<&Sse>) -> (Option<ServerSideEncryption>, Option<String>) {
    match sse {
        None => (None, None),
        Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
        Some(Sse::Kms { key_id }) => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
    }
}

/// The `x-amz-tagging` header: a query string, in which not every store takes `+` for a space.
fn tagging(settings: &Store) -> Option<String> {
    let tags = &settings.tags;
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(tags).finish();
    (!tags.is_empty()).then(|| query.replace('+', "%20"))
}

fn retention(lock: Option<ObjectLock>) -> (Option<ObjectLockMode>, Option<DateTime>) {
    const DAY: i64 = 24 * 60 * 60;
    let Some(lock) = lock else { return (None, None) };
    let mode = match lock.mode {
        LockMode::Governance => ObjectLockMode::Governance,
        LockMode::Compliance => ObjectLockMode::Compliance,
    };
    let until = clock::now().as_second() + i64::from(lock.days) * DAY;
    (Some(mode), Some(DateTime::from_secs(until)))
}
