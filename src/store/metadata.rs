//! Whose recording an object is, and what is known of it, as its user metadata says it (contract 3).

use std::collections::HashMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Identity, NewObject, Sha256Digest};
use crate::failure::Reason;
use crate::recording::Audio;

const TENANT: &str = "tenant";
const CALL_ID: &str = "call-id";
const FILE_NAME: &str = "file-name";
/// Of a call centre that is not the tenant's own.
const CC_ID: &str = "cc-id";
const SHA256: &str = "sha256";
/// How many objects an unpacked ZIP has become: a repeat can tell whether all of them are there.
const ENTRIES: &str = "entries";
/// Digits of the most entries.
const ENTRIES_DIGITS: usize = 4;
/// What is heard in it, for events that come after the download.
const AUDIO: &str = "audio";
/// The reason code that CC-FS itself gave cause to.
const UNPROVEN: &str = "unproven";
/// The most bytes of these two; what would be longer is left out.
const AUDIO_BYTES: usize = 48;
const UNPROVEN_BYTES: usize = 16;

/// S3's limit of all names and values together, in bytes.
const MOST: usize = 2048;

/// What keys leave alone (contract 3) is left alone here too.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// The metadata of a new object; `sha256` where the whole content is known before it is sent.
pub(super) fn write(new: &NewObject, sha256: Option<&Sha256Digest>) -> HashMap<String, String> {
    let NewObject { identity: who, entries, .. } = new;
    let mut metadata = HashMap::from([(TENANT.to_owned(), who.tenant.as_str().to_owned())]);
    if let Some(call_id) = &who.call_id {
        metadata.insert(CALL_ID.to_owned(), encode(call_id.as_str()));
    }
    if let Some(cc_id) = &who.cc_id {
        metadata.insert(CC_ID.to_owned(), encode(cc_id.as_str()));
    }
    if let Some(sha256) = sha256 {
        metadata.insert(SHA256.to_owned(), hex::encode(sha256));
    }
    if let Some(audio) =
        new.audio.as_ref().map(write_audio).filter(|audio| audio.len() <= AUDIO_BYTES)
    {
        metadata.insert(AUDIO.to_owned(), audio);
    }
    if let Some(reason) =
        new.unproven.as_ref().filter(|reason| reason.as_str().len() <= UNPROVEN_BYTES)
    {
        metadata.insert(UNPROVEN.to_owned(), reason.to_string());
    }
    if let Some(entries) = entries {
        metadata.insert(ENTRIES.to_owned(), entries.to_string());
    }
    if let Some(file_name) = encoded_file_name(who, entries.is_some()) {
        metadata.insert(FILE_NAME.to_owned(), file_name);
    }
    metadata
}

/// The file name where it fits. Whether it does must not depend on what only some objects have, so
/// room for that is always kept.
fn encoded_file_name(who: &Identity, unpacked: bool) -> Option<String> {
    let file_name = encode(who.file_name.as_ref()?.as_str());
    let call_id = who.call_id.as_ref().map_or(0, |id| CALL_ID.len() + encode(id.as_str()).len());
    let cc_id = who.cc_id.as_ref().map_or(0, |id| CC_ID.len() + encode(id.as_str()).len());
    let entries = if unpacked { ENTRIES.len() + ENTRIES_DIGITS } else { 0 };
    let known = SHA256.len() + 64 + AUDIO.len() + AUDIO_BYTES + UNPROVEN.len() + UNPROVEN_BYTES;
    let others = TENANT.len() + who.tenant.as_str().len() + call_id + cc_id + known + entries;
    (others + FILE_NAME.len() + file_name.len() <= MOST).then_some(file_name)
}

/// Whether the metadata names the same tenant, call-id and file-name, of the same call centre.
pub(super) fn names(metadata: &HashMap<String, String>, who: &Identity) -> bool {
    let said = |name| metadata.get(name).map(|value| decode(value));
    let unpacked = metadata.contains_key(ENTRIES);
    let file_name = match said(FILE_NAME) {
        // Older versions kept less room, hence longer names.
        Some(name) => who.file_name.as_ref().is_some_and(|own| own.as_str() == name),
        None => encoded_file_name(who, unpacked).is_none(),
    };
    said(TENANT).as_deref() == Some(who.tenant.as_str())
        && said(CALL_ID).as_deref() == who.call_id.as_ref().map(|id| id.as_str())
        && said(CC_ID).as_deref() == who.cc_id.as_ref().map(|id| id.as_str())
        && file_name
}

/// Whether the object says at all whose it is; one that another program stored may not.
pub(super) fn anonymous(metadata: &HashMap<String, String>) -> bool {
    ![TENANT, CALL_ID, FILE_NAME].iter().any(|name| metadata.contains_key(*name))
}

/// How many objects the recording has become, where it was unpacked.
pub(super) fn entries(metadata: &HashMap<String, String>) -> Option<usize> {
    metadata.get(ENTRIES)?.parse().ok()
}

/// `codec;sampleRate;channels;durationMs`; what the header does not tell is empty.
fn write_audio(audio: &Audio) -> String {
    let Audio { codec, sample_rate, channels, duration_ms } = audio;
    let told = |number: u64| Some(number).filter(|number| *number > 0).map(|n| n.to_string());
    let numbers = [told((*sample_rate).into()), told((*channels).into())];
    let numbers = numbers.map(Option::unwrap_or_default).join(";");
    format!("{codec};{numbers};{}", duration_ms.map(|ms| ms.to_string()).unwrap_or_default())
}

/// What is heard in it, if it says so.
pub(super) fn audio(metadata: &HashMap<String, String>) -> Option<Audio> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let fields: Vec<_> = metadata.get(AUDIO)?.split(';').collect();
    let [codec, rate, channels, duration] = fields[..] else { return None };
    let known = (1..=AUDIO_BYTES).contains(&codec.len()) && codec.bytes().all(plain);
    let number = |field: &str| if field.is_empty() { Some(0) } else { field.parse().ok() };
    Some(Audio {
        codec: known.then(|| codec.to_owned())?,
        sample_rate: number(rate)?,
        channels: u16::try_from(number(channels)?).ok()?,
        duration_ms: duration.parse().ok(),
    })
}

/// What CC-FS itself has wrong in it, if it says so.
pub(super) fn unproven(metadata: &HashMap<String, String>) -> Option<Reason> {
    metadata.get(UNPROVEN).and_then(|code| Reason::read_ccfs(code))
}

/// The hash of the content, as hex.
pub(super) fn sha256(metadata: &HashMap<String, String>) -> Option<String> {
    metadata.get(SHA256).map(|hash| hash.to_ascii_lowercase())
}

fn encode(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

fn decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::ObjectKey;
    use crate::request::{CallId, CcId, FileName, TenantId};

    fn write(who: &Identity, sha256: Option<&Sha256Digest>) -> HashMap<String, String> {
        super::write(&new_object(who, None), sha256)
    }

    fn new_object(who: &Identity, entries: Option<usize>) -> NewObject {
        let key = ObjectKey::new("key").unwrap();
        NewObject {
            key,
            content_type: "",
            identity: who.clone(),
            entries,
            audio: None,
            packed: None,
            unproven: None,
            force: false,
        }
    }

    fn identity(call_id: Option<&str>, file_name: Option<&str>) -> Identity {
        Identity {
            tenant: TenantId::new("acme").unwrap(),
            call_id: call_id.map(|id| CallId::new(id).unwrap()),
            file_name: file_name.map(|name| FileName::new(name).unwrap()),
            cc_id: None,
        }
    }

    #[test]
    fn names_are_percent_encoded() {
        let who = identity(Some("1777093663-792075"), Some(r"X:\4/録音 %.V3"));
        let metadata = write(&who, Some(&[0xab; 32]));
        assert_eq!(metadata["tenant"], "acme");
        assert_eq!(metadata["call-id"], "1777093663-792075");
        assert_eq!(metadata["file-name"], "X%3A%5C4%2F%E9%8C%B2%E9%9F%B3%20%25.V3");
        assert_eq!(metadata["sha256"], "ab".repeat(32));
        assert!(names(&metadata, &who));
    }

    #[test]
    fn a_file_name_over_2_kib_is_left_out_and_still_recognised() {
        let who = identity(Some("1"), Some(&"𐍈".repeat(225)));
        for sha256 in [None, Some(&[1; 32])] {
            let metadata = write(&who, sha256);
            assert!(!metadata.contains_key("file-name"));
            assert!(names(&metadata, &who));
        }
        let fits = identity(Some("1"), Some(&"𐍈".repeat(150)));
        let metadata = write(&fits, Some(&[1; 32]));
        let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(metadata.contains_key("file-name") && size <= 2048, "{size}");
        let name = "𐍈".repeat(160);
        // An older version kept no room for what was not known then.
        let older = HashMap::from([
            ("tenant".to_owned(), "acme".to_owned()),
            ("call-id".to_owned(), "1".to_owned()),
            ("file-name".to_owned(), encode(&name)),
        ]);
        assert!(encoded_file_name(&identity(Some("1"), Some(&name)), false).is_none());
        assert!(names(&older, &identity(Some("1"), Some(&name))));
    }

    #[test]
    fn what_is_heard_is_read_as_it_was_written() {
        let alaw = |sample_rate, channels, duration_ms| Audio {
            codec: "pcm_alaw".to_owned(),
            sample_rate,
            channels,
            duration_ms,
        };
        for (heard, written) in [
            (alaw(8000, 1, Some(301_000)), "pcm_alaw;8000;1;301000"),
            (alaw(8000, 1, None), "pcm_alaw;8000;1;"),
            (alaw(8000, 2, Some(0)), "pcm_alaw;8000;2;0"),
            (alaw(0, 0, None), "pcm_alaw;;;"),
        ] {
            let mut new = new_object(&identity(Some("1"), None), None);
            new.audio = Some(heard.clone());
            new.unproven = Some(Reason::CCFS_TRUNCATED);
            let metadata = super::write(&new, None);
            assert_eq!(metadata["audio"], written);
            assert_eq!(audio(&metadata), Some(heard));
            assert_eq!(metadata["unproven"], "ccfs.truncated");
            assert_eq!(unproven(&metadata), Some(Reason::CCFS_TRUNCATED));
        }
        let foreign =
            |name: &str, value: &str| HashMap::from([(name.to_owned(), value.to_owned())]);
        for audio_of_others in
            ["", "pcm", "pcm_alaw;8000;1", "PCM A-law;1;1;1", "a;b;c;d", "a;1;1;1;1"]
        {
            assert_eq!(audio(&foreign("audio", audio_of_others)), None, "{audio_of_others}");
        }
        for code in ["", "store.SlowDown", "ccfs.", "ccfs.tel +4915550123"] {
            assert_eq!(unproven(&foreign("unproven", code)), None, "{code}");
        }
    }

    #[test]
    fn an_entry_says_how_many_there_are_and_stays_within_2_kib() {
        let mut left_out = 0;
        for length in 140..180 {
            let who = identity(Some("1"), Some(&"𐍈".repeat(length)));
            let metadata = super::write(&new_object(&who, Some(1000)), Some(&[1; 32]));
            assert_eq!(entries(&metadata), Some(1000));
            assert!(names(&metadata, &who));
            let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(size <= 2048, "{size}");
            left_out += u32::from(!metadata.contains_key("file-name"));
        }
        assert!((1..40).contains(&left_out), "{left_out}");
        assert_eq!(entries(&write(&identity(Some("1"), None), None)), None);
    }

    #[test]
    fn another_call_centres_recording_is_another() {
        let own = identity(Some("1"), None);
        let other = Identity { cc_id: Some(CcId::new("2").unwrap()), ..own.clone() };
        assert!(!write(&own, None).contains_key("cc-id"));
        assert_eq!(write(&other, None)["cc-id"], "2");
        assert!(names(&write(&other, None), &other));
        assert!(!names(&write(&own, None), &other) && !names(&write(&other, None), &own));
    }

    #[test]
    fn another_recording_is_another() {
        let metadata = write(&identity(Some("1"), Some("a.wav")), None);
        for other in [
            identity(Some("2"), Some("a.wav")),
            identity(Some("1"), Some("b.wav")),
            identity(Some("1"), None),
            identity(None, Some("a.wav")),
        ] {
            assert!(!names(&metadata, &other), "{other:?}");
        }
        assert!(!anonymous(&metadata));
        assert!(anonymous(&HashMap::new()));
        assert!(!names(&HashMap::new(), &identity(None, None)));
    }
}
