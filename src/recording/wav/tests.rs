use proptest::prelude::*;

use crate::recording::{Audio, Format, Framing, Proof};

/// A WAV by hand: its chunks, and the sizes its header claims.
#[derive(Clone, Debug)]
struct Wav {
    chunks: Vec<([u8; 4], Vec<u8>, Option<u32>)>,
    riff_size: Option<u32>,
    last_pad: bool,
}

impl Wav {
    fn new(format: Vec<u8>, data: Vec<u8>) -> Self {
        let chunks = vec![(*b"fmt ", format, None), (*b"data", data, None)];
        Self { chunks, riff_size: None, last_pad: true }
    }

    fn chunk(mut self, at: usize, id: [u8; 4], body: &[u8]) -> Self {
        self.chunks.insert(at, (id, body.to_vec(), None));
        self
    }

    fn without(mut self, id: [u8; 4]) -> Self {
        self.chunks.retain(|chunk| chunk.0 != id);
        self
    }

    fn riff_size(mut self, size: u32) -> Self {
        self.riff_size = Some(size);
        self
    }

    fn data_size(mut self, size: u32) -> Self {
        self.chunks.iter_mut().filter(|chunk| chunk.0 == *b"data").for_each(|c| c.2 = Some(size));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut body = b"WAVE".to_vec();
        for (id, bytes, size) in &self.chunks {
            body.extend(id);
            body.extend(size.unwrap_or(bytes.len() as u32).to_le_bytes());
            body.extend(bytes);
            if bytes.len() % 2 == 1 {
                body.push(0);
            }
        }
        if !self.last_pad {
            body.pop();
        }
        let size = self.riff_size.unwrap_or(body.len() as u32);
        [b"RIFF", &size.to_le_bytes()[..], &body].concat()
    }
}

fn format(tag: u16, channels: u16, rate: u32, per_second: u32, block: u16, bits: u16) -> Vec<u8> {
    [
        &tag.to_le_bytes()[..],
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &per_second.to_le_bytes(),
        &block.to_le_bytes(),
        &bits.to_le_bytes(),
    ]
    .concat()
}

fn a_law() -> Vec<u8> {
    format(6, 1, 8000, 8000, 1, 8)
}

fn told(body: &[u8], framing: Framing) -> Result<Audio, String> {
    let mut proof = Proof::new(Format::Wav, framing);
    proof.update(body);
    let told = proof.finish().map_err(|failure| failure.reason.to_string())?;
    Ok(told.audio.expect("a WAV has sound"))
}

fn milliseconds(audio: &Audio) -> u64 {
    audio.duration_ms.expect("the header and the length tell")
}

fn duration(wav: &Wav, framing: Framing) -> Result<u64, String> {
    told(&wav.bytes(), framing).map(|audio| milliseconds(&audio))
}

fn truncated<T>() -> Result<T, String> {
    Err("ccfs.truncated".into())
}

fn protocol<T>() -> Result<T, String> {
    Err("ccfs.protocol".into())
}

#[test]
fn codecs_and_durations() {
    let extensible = |tag: u16, bits: u16, tail: [u8; 14]| {
        let head = format(0xFFFE, 2, 8000, 8000 * 4, 4, bits);
        [
            &head[..],
            &22_u16.to_le_bytes(),
            &bits.to_le_bytes(),
            &[3, 0, 0, 0],
            &tag.to_le_bytes(),
            &tail,
        ]
        .concat()
    };
    let guid = super::sound::SUBFORMAT_TAIL;
    let cases = [
        (a_law(), 12_000, "pcm_alaw", 1500),
        (format(7, 2, 8000, 16000, 2, 8), 16_000, "pcm_mulaw", 1000),
        (format(1, 1, 8000, 8000, 1, 8), 4, "pcm_u8", 1), // half a millisecond is rounded up
        (format(1, 1, 8000, 8000, 1, 8), 3, "pcm_u8", 0),
        (format(1, 2, 44100, 176_400, 4, 16), 176_400, "pcm_s16le", 1000),
        (format(1, 1, 8000, 24_000, 3, 24), 24_000, "tag_1", 1000),
        (format(3, 1, 16000, 64_000, 4, 32), 32_000, "pcm_f32le", 500),
        (format(3, 1, 8000, 64_000, 8, 64), 64_000, "tag_3", 1000),
        (format(0x31, 1, 8000, 1625, 65, 0), 65 * 25, "gsm_ms", 1000),
        (format(0x31, 1, 8000, 0, 0, 0), 65, "gsm_ms", 40),
        (format(2, 1, 8000, 4096, 256, 4), 4096, "tag_2", 1000),
        (extensible(1, 16, guid), 32_000, "pcm_s16le", 1000),
        (extensible(6, 8, guid), 32_000, "pcm_alaw", 1000),
        (extensible(1, 16, [9; 14]), 32_000, "tag_65534", 1000),
        // A header that lies or is silent about what follows from the rest of it.
        (format(6, 1, 8000, 0, 0, 8), 8000, "pcm_alaw", 1000),
        (format(6, 1, 0, 4000, 1, 8), 8000, "pcm_alaw", 2000),
    ];
    for (format, bytes, codec, duration_ms) in cases {
        let wav = Wav::new(format.clone(), vec![0x55; bytes]);
        let audio = told(&wav.bytes(), Framing::Close).unwrap();
        assert_eq!(
            (audio.codec.as_str(), milliseconds(&audio)),
            (codec, duration_ms),
            "{format:?}"
        );
    }
    let silent = Wav::new(format(6, 0, 0, 0, 0, 0), vec![0x55; 8000]);
    assert_eq!(told(&silent.bytes(), Framing::Close).map(|audio| audio.duration_ms), Ok(None));
    // Compressed sound without a byte rate lasts as long as its fact chunk says.
    let fact = Wav::new(format(0x55, 1, 8000, 0, 1, 0), vec![0; 10]);
    let fact = fact.chunk(1, *b"fact", &12_000_u32.to_le_bytes());
    assert_eq!(duration(&fact, Framing::Chunked), Ok(1500));
    let stereo =
        told(&Wav::new(format(7, 2, 8000, 16000, 2, 8), vec![0; 4]).bytes(), Framing::Close);
    assert_eq!(stereo.map(|audio| (audio.sample_rate, audio.channels)), Ok((8000, 2)));
}

#[test]
fn a_sized_wav_ends_where_its_header_says() {
    let wav = Wav::new(a_law(), vec![0x55; 8000]);
    for framing in [Framing::Close, Framing::Chunked, Framing::Length(8044)] {
        assert_eq!(duration(&wav, framing), Ok(1000));
    }
    assert_eq!(duration(&wav, Framing::Length(8045)), truncated());
    let mut longer = wav.bytes();
    longer.extend(b"trailing bytes");
    assert_eq!(told(&longer, Framing::Close).map(|audio| milliseconds(&audio)), Ok(1000));
    // The RIFF's size is satisfied, the data's is not.
    assert_eq!(duration(&wav.clone().data_size(8001), Framing::Chunked), truncated());
    // Sound of no size reaches to the end of the RIFF.
    for unsized_data in [0, u32::MAX] {
        assert_eq!(duration(&wav.clone().data_size(unsized_data), Framing::Close), Ok(1000));
    }
}

#[test]
fn an_unsized_riff_with_sized_sound_ends_at_a_chunk() {
    for riff in [0, u32::MAX] {
        let wav = Wav::new(a_law(), vec![0x55; 8001]).riff_size(riff);
        let listed = wav.clone().chunk(2, *b"LIST", b"INFO");
        for framing in [Framing::Close, Framing::Chunked] {
            assert_eq!(duration(&wav, framing), Ok(1000));
            assert_eq!(duration(&listed, framing), Ok(1000));
            let bytes = listed.bytes();
            // From the pad byte of the sound on: only two of these ends are ends of a chunk.
            for cut in 1..=12 {
                let ended = told(&bytes[..bytes.len() - cut], framing).is_ok();
                assert_eq!(ended, cut == 12, "{cut} bytes short over {framing:?}");
            }
            assert_eq!(told(&bytes[..bytes.len() - 14], framing), truncated());
        }
        // Without its pad byte it is whole only if something else shows the end.
        let unpadded = Wav { last_pad: false, ..wav };
        assert_eq!(duration(&unpadded, Framing::Chunked), Ok(1000));
        assert_eq!(duration(&unpadded, Framing::Close), truncated());
    }
}

#[test]
fn a_wav_without_any_size_needs_framing() {
    let wav = Wav::new(a_law(), vec![0x55; 8000]).riff_size(0);
    for data in [0, u32::MAX] {
        let wav = wav.clone().data_size(data);
        assert_eq!(duration(&wav, Framing::Chunked), Ok(1000));
        assert_eq!(duration(&wav, Framing::Length(8044)), Ok(1000));
        assert_eq!(duration(&wav, Framing::Close), truncated());
        // So does one whose header was written before the call: sizes of an empty file.
        let stale = wav.riff_size(36);
        assert_eq!(duration(&stale, Framing::Chunked), Ok(1000));
        assert_eq!(duration(&stale, Framing::Close), truncated());
    }
}

#[test]
fn a_whole_wav_without_sound_or_header_is_a_protocol_error() {
    let wav = Wav::new(a_law(), vec![0x55; 80]);
    assert_eq!(duration(&wav.clone().without(*b"fmt "), Framing::Close), protocol());
    assert_eq!(duration(&wav.clone().without(*b"data"), Framing::Close), protocol());
    assert_eq!(duration(&wav.clone().without(*b"data").riff_size(0), Framing::Chunked), protocol());
    assert_eq!(duration(&wav.without(*b"data").riff_size(0), Framing::Close), truncated());
    let short = Wav::new(a_law()[..14].to_vec(), vec![0x55; 80]);
    assert_eq!(duration(&short, Framing::Close), protocol());
    let late = Wav::new(a_law(), vec![0x55; 8000]).without(*b"fmt ").chunk(1, *b"fmt ", &a_law());
    assert_eq!(duration(&late, Framing::Close), Ok(1000));
}

#[test]
fn an_empty_recording_is_whole_where_the_framing_shows_its_end() {
    let empty = Wav::new(a_law(), vec![]);
    assert_eq!(duration(&empty, Framing::Chunked), Ok(0));
    assert_eq!(duration(&empty, Framing::Length(44)), Ok(0));
    // Byte for byte also the head of a recording whose header was written before the call (RIFF of
    // 36 bytes, data of 0), cut at byte 44.
    let stale = Wav::new(a_law(), vec![0x55; 8000]).riff_size(36).data_size(0);
    assert_eq!(stale.bytes()[..44], empty.bytes());
    assert_eq!(told(&stale.bytes()[..44], Framing::Close), truncated());
}

#[test]
fn arbitrary_sizes_do_not_overflow() {
    let wav = Wav::new(a_law(), vec![0x55; 8]).chunk(0, *b"junk", b"");
    let mut bytes = wav.bytes();
    bytes[16..20].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
    assert_eq!(told(&bytes, Framing::Chunked), protocol());
    assert_eq!(duration(&wav.clone().riff_size(0x7FFF_EFFF), Framing::Chunked), truncated());
    assert_eq!(duration(&wav.riff_size(u32::MAX - 1), Framing::Close), truncated());
}

#[test]
fn sizes_that_pipes_and_careless_writers_leave_are_none_where_the_framing_shows_the_end() {
    let wav = Wav::new(a_law(), vec![0x55; 8000]);
    let long = |data: u32| wav.clone().data_size(data).riff_size(data.saturating_add(36));
    let cases = [
        ("SoX", long(0x7FFF_F000)),
        ("arecord", long(0x7FFF_FFFF)),
        ("FFmpeg", long(u32::MAX - 36)),
        ("the largest RIFF", long(u32::MAX)),
        ("only the RIFF", wav.clone().riff_size(0x7FFF_FFFF)),
        ("only the sound", wav.clone().data_size(0x8000_0000)),
        ("none and one", wav.clone().riff_size(0).data_size(0x7FFF_FFFF)),
        ("RIFF as the file", wav.clone().riff_size(8044)),
        ("sound as the file", wav.clone().data_size(8044)),
        ("both as the file", wav.clone().riff_size(8044).data_size(8044)),
        ("sound as the RIFF", wav.clone().data_size(8036)),
    ];
    for (name, wav) in cases {
        assert_eq!(duration(&wav, Framing::Length(8044)), Ok(1000), "{name}");
        assert_eq!(duration(&wav, Framing::Chunked), Ok(1000), "{name}");
        // Where nothing shows the end, a size that is not reached is one that was cut.
        assert_eq!(duration(&wav, Framing::Close), truncated(), "{name}");
    }
    // One that is there is true.
    let mut large = wav.data_size(0x7FFF_F000).riff_size(0x7FFF_F024).bytes();
    large.truncate(44);
    let mut proof = Proof::new(Format::Wav, Framing::Chunked);
    proof.update(&large);
    for _ in 0..0x7FFF_F000_u32 / 0x10000 {
        proof.update(&[0x55; 0x10000]);
    }
    proof.update(&[0x55; 0xF000]);
    proof.update(b"LIST\x04\0\0\0INFO");
    let audio = proof.finish().map(|told| told.audio.map(|audio| milliseconds(&audio)));
    assert_eq!(audio.unwrap(), Some(0x7FFF_F000 / 8));
}

#[test]
fn what_is_heard_is_known_from_the_header_and_the_length() {
    let wav = Wav::new(a_law(), vec![0x55; 8000]);
    let heard = |wav: &Wav, length| {
        let mut proof = Proof::new(Format::Wav, Framing::Chunked);
        proof.update(&wav.bytes()[..60]);
        proof.heard(length).map(|audio| audio.duration_ms)
    };
    let unsized_ = wav.clone().riff_size(0).data_size(0);
    let piped = wav.clone().riff_size(0x7FFF_F024).data_size(0x7FFF_F000);
    let cut = wav.clone().riff_size(16_036).data_size(16_000);
    assert_eq!(heard(&wav, None), Some(Some(1000)));
    assert_eq!(heard(&unsized_, None), Some(None));
    assert_eq!(heard(&piped, None), Some(None));
    assert_eq!(heard(&wav.clone().data_size(0), None), Some(Some(1000)));
    for wav in [&wav, &unsized_, &piped, &cut] {
        assert_eq!(heard(wav, Some(8044)), Some(Some(1000)));
    }
    assert_eq!(heard(&wav.without(*b"fmt "), Some(8044)), None);
}

prop_compose! {
    /// A WAV of whole frames among other chunks, padded where they are odd; how long it lasts.
    fn sized_wavs()(
        channels in 1..3_u16,
        rate in prop::sample::select(vec![8000_u32, 16_000, 44_100]),
        (tag, bits) in prop::sample::select(vec![(1_u16, 8_u16), (1, 16), (3, 32), (6, 8), (7, 8)]),
        frames in 1..200_usize,
        extra in prop::collection::vec(any::<u8>(), 0..4),
        before in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..3),
        after in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..3),
    ) -> (Wav, u64) {
        let block = channels * bits / 8;
        let header = format(tag, channels, rate, rate * u32::from(block), block, bits);
        let mut wav = Wav::new([header, extra].concat(), vec![0x55; frames * usize::from(block)]);
        for chunk in &after {
            wav = wav.chunk(2, *b"LIST", chunk);
        }
        for chunk in &before {
            wav = wav.chunk(1, *b"junk", chunk);
        }
        let duration = (frames as f64 * 1000.0 / f64::from(rate)).round() as u64;
        (wav, duration)
    }
}

fn in_portions(body: &[u8], sizes: &[usize], framing: Framing) -> Result<Audio, String> {
    let mut proof = Proof::new(Format::Wav, framing);
    let mut rest = body;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (portion, tail) = rest.split_at(rest.len().min(*size));
        proof.update(portion);
        rest = tail;
    }
    let told = proof.finish().map_err(|failure| failure.reason.to_string())?;
    Ok(told.audio.expect("a WAV has sound"))
}

proptest! {
    #[test]
    fn no_strict_prefix_of_a_sized_wav_is_whole(
        (wav, duration) in sized_wavs(),
        sizes in prop::collection::vec(1..60_usize, 1..5),
    ) {
        let bytes = wav.bytes();
        for cut in 1..bytes.len() {
            for framing in [Framing::Close, Framing::Chunked, Framing::Length(cut as u64)] {
                // The length of a file where that less 8 should stand is nothing cut off, if the
                // framing shows the end.
                if framing != Framing::Close && cut + 8 == bytes.len() {
                    continue;
                }
                prop_assert_eq!(in_portions(&bytes[..cut], &sizes, framing), truncated(), "{} bytes", cut);
            }
        }
        let whole = in_portions(&bytes, &sizes, Framing::Close);
        prop_assert_eq!(whole.map(|audio| milliseconds(&audio)), Ok(duration));
    }

    #[test]
    fn sound_of_no_size_lasts_to_the_end_that_the_framing_shows(
        (wav, _) in sized_wavs(),
        sizes in prop::collection::vec(1..60_usize, 1..5),
        (riff, data) in prop::sample::select(vec![(0, 0), (0, u32::MAX), (u32::MAX, 0), (u32::MAX, u32::MAX)]),
    ) {
        let bytes = wav.riff_size(riff).data_size(data).bytes();
        prop_assert!(in_portions(&bytes, &sizes, Framing::Chunked).is_ok());
        for cut in 1..=bytes.len() {
            prop_assert_eq!(in_portions(&bytes[..cut], &sizes, Framing::Close), truncated(), "{} bytes", cut);
        }
    }

    #[test]
    fn portions_do_not_matter(
        (wav, _) in sized_wavs(),
        overwritten in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        sizes in prop::collection::vec(1..60_usize, 1..5),
    ) {
        let mut body = wav.bytes();
        for (at, byte) in overwritten {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for framing in [Framing::Close, Framing::Chunked] {
            prop_assert_eq!(in_portions(&body, &sizes, framing), told(&body, framing));
        }
    }
}
