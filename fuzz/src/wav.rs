//! A WAV: the same verdict however it arrives, and no strict prefix of a sized one is whole.

use callvault::failure::Reason;
use callvault::recording::{Audio, Format, Framing, Proof};

use crate::{cuts, portions};

/// 2^32 bytes of the thinnest sound there is, in milliseconds: GSM at 1 Hz.
const LONGEST: u64 = (1 << 32) * 320 / 65 * 1000;

pub fn check(bytes: &[u8]) {
    let framings = [Framing::Close, Framing::Chunked, Framing::Length(bytes.len() as u64)];
    let end = sized_end(bytes);
    for framing in framings {
        let told = verdict(bytes, framing);
        assert_eq!(told, in_portions(bytes, framing));
        let Ok(audio) = told else { continue };
        assert!(audio.duration_ms <= Some(LONGEST), "{audio:?}");
        // Where the framing shows the end, a size may be one that its writer could not know.
        let all = framing != Framing::Close || end.is_none_or(|end| bytes.len() as u64 >= end);
        assert!(all, "{end:?} bytes, not all there");
    }
    if let Some(wav) = with_true_sizes(bytes) {
        let told = verdict(&wav, Framing::Chunked);
        assert_ne!(told, Err(Reason::CCFS_TRUNCATED), "it is whole");
        no_strict_prefix_is_whole(&wav);
    }
}

fn verdict(wav: &[u8], framing: Framing) -> Result<Audio, Reason> {
    judged(std::iter::once(wav), framing)
}

fn in_portions(wav: &[u8], framing: Framing) -> Result<Audio, Reason> {
    judged(portions(wav), framing)
}

fn judged<'a>(portions: impl Iterator<Item = &'a [u8]>, framing: Framing) -> Result<Audio, Reason> {
    let mut proof = Proof::new(Format::Wav, framing);
    portions.for_each(|portion| proof.update(portion));
    let told = proof.finish().map_err(|failure| failure.reason)?;
    Ok(told.audio.expect("a WAV has sound"))
}

fn no_strict_prefix_is_whole(wav: &[u8]) {
    for cut in cuts(wav.len()).skip(1) {
        for framing in [Framing::Close, Framing::Chunked, Framing::Length(cut as u64)] {
            // The length of the file, where that less 8 should stand.
            if framing != Framing::Close && cut + 8 == wav.len() {
                continue;
            }
            let told = verdict(&wav[..cut], framing);
            assert_eq!(told, Err(Reason::CCFS_TRUNCATED), "{cut} of {} bytes", wav.len());
        }
    }
}

/// Where the sizes in its header say that a WAV ends; `None` where they say nothing.
fn sized_end(wav: &[u8]) -> Option<u64> {
    let riff = size_at(wav, 4).map(|size| 8 + size);
    let data = chunks(wav).find(|at| wav[*at..].starts_with(b"data"));
    let data = data.and_then(|at| Some(at as u64 + 8 + size_at(wav, at + 4)?));
    riff.max(data)
}

/// `wav` with the sizes that its header should have; `None` where there is no sound to speak of.
fn with_true_sizes(wav: &[u8]) -> Option<Vec<u8>> {
    let mut wav = [b"RIFF", wav.get(4..8)?, b"WAVE", wav.get(12..)?].concat();
    let riff = u32::try_from(wav.len() - 8).ok()?;
    wav[4..8].copy_from_slice(&riff.to_le_bytes());
    let places: Vec<usize> = chunks(&wav).collect();
    let last = *places.last()?;
    let left = u32::try_from(wav.len() - last - 8).ok()?;
    let size = u32::from_le_bytes(*wav[last + 4..].first_chunk()?);
    wav[last + 4..last + 8].copy_from_slice(&size.min(left).to_le_bytes());
    let data = places.into_iter().find(|at| wav[*at..].starts_with(b"data"))?;
    size_at(&wav, data + 4).map(|_| wav)
}

/// Where chunks begin whose headers are there.
fn chunks(wav: &[u8]) -> impl Iterator<Item = usize> {
    let next = |at: &usize| {
        let size = u32::from_le_bytes(*wav.get(at + 4..)?.first_chunk()?) as usize;
        Some(at + 8 + size + size % 2)
    };
    std::iter::successors(Some(12), next).take_while(|at| at + 8 <= wav.len())
}

fn size_at(wav: &[u8], at: usize) -> Option<u64> {
    match u32::from_le_bytes(*wav.get(at..)?.first_chunk()?) {
        0 | u32::MAX => None,
        bytes => Some(u64::from(bytes)),
    }
}
