//! The `fmt ` chunk: what the sound is, and how long so many bytes of it last.

/// `WAVEFORMATEXTENSIBLE`, the longest form that is read.
pub const MAX_FORMAT: usize = 40;

/// What a WAV header says of its sound (contract 4).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audio {
    /// pcm_alaw, pcm_mulaw, pcm_u8, pcm_s16le, pcm_f32le, gsm_ms, else `tag_{n}`.
    pub codec: String,
    /// Hertz.
    pub sample_rate: u32,
    pub channels: u16,
    /// Milliseconds; `None` where neither the header nor the length of the sound tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl Audio {
    /// The least that its sound takes; 0 where what is known of it does not tell.
    pub fn least_bytes(&self) -> u64 {
        let sample = match self.codec.as_str() {
            "pcm_alaw" | "pcm_mulaw" | "pcm_u8" => 1,
            "pcm_s16le" => 2,
            "pcm_f32le" => 4,
            _ => 0,
        };
        let per_second = sample * u128::from(self.sample_rate) * u128::from(self.channels);
        // It was rounded.
        let duration_ms = self.duration_ms.unwrap_or_default().saturating_sub(1);
        u64::try_from(per_second * u128::from(duration_ms) / 1000).unwrap_or(u64::MAX)
    }
}

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const GSM: u16 = 0x31;
const EXTENSIBLE: u16 = 0xFFFE;

/// A subformat is a tag in this GUID (Microsoft, `KSDATAFORMAT_SUBTYPE_WAVEFORMATEX`).
pub const SUBFORMAT_TAIL: [u8; 14] =
    [0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71];

/// Microsoft's GSM 6.10 packs two frames of 160 samples into 65 bytes.
const GSM_BLOCK_BYTES: u64 = 65;
const GSM_BLOCK_SAMPLES: u64 = 320;

/// A `fmt ` chunk as it stands.
#[derive(Debug, Default)]
pub struct Sound {
    /// Bytes of the chunk that were read; 16 is the least that a fmt chunk has.
    length: usize,
    tag: u16,
    channels: u16,
    sample_rate: u32,
    bytes_per_second: u32,
    block_align: u16,
    bits: u16,
}

impl Sound {
    pub fn read(field: &[u8]) -> Self {
        if field.len() < 16 {
            return Self { length: field.len(), ..Self::default() };
        }
        let short = |at: usize| u16::from_le_bytes([field[at], field[at + 1]]);
        let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
        let tag = match (short(0), field.get(24..26), field.get(26..40)) {
            (EXTENSIBLE, Some(tag), Some(tail)) if tail == SUBFORMAT_TAIL => {
                u16::from_le_bytes([tag[0], tag[1]])
            }
            (tag, _, _) => tag,
        };
        Self {
            length: field.len(),
            tag,
            channels: short(2),
            sample_rate: long(4),
            bytes_per_second: long(8),
            block_align: short(12),
            bits: short(14),
        }
    }

    pub fn is_complete(&self) -> bool {
        self.length >= 16
    }

    /// `data_bytes`: of the sound, where that is known.
    pub fn audio(&self, data_bytes: Option<u64>, fact: Option<u32>) -> Audio {
        Audio {
            codec: self.codec(),
            sample_rate: self.sample_rate,
            channels: self.channels,
            duration_ms: self.duration_ms(data_bytes, fact),
        }
    }

    fn codec(&self) -> String {
        match (self.tag, self.bits) {
            (A_LAW, _) => "pcm_alaw".into(),
            (MU_LAW, _) => "pcm_mulaw".into(),
            (PCM, 8) => "pcm_u8".into(),
            (PCM, 16) => "pcm_s16le".into(),
            (FLOAT, 32) => "pcm_f32le".into(),
            (GSM, _) => "gsm_ms".into(),
            (tag, _) => format!("tag_{tag}"),
        }
    }

    fn duration_ms(&self, data_bytes: Option<u64>, fact: Option<u32>) -> Option<u64> {
        let rate = u64::from(self.sample_rate);
        let per_second = u64::from(self.bytes_per_second);
        let (samples, block) = match self.tag {
            PCM | FLOAT | A_LAW | MU_LAW => (1, self.frame_bytes()),
            GSM => (GSM_BLOCK_SAMPLES, GSM_BLOCK_BYTES),
            _ => (0, 0),
        };
        if rate > 0 && block > 0 {
            data_bytes.map(|bytes| milliseconds(bytes * samples, block * rate))
        } else if per_second > 0 {
            data_bytes.map(|bytes| milliseconds(bytes, per_second))
        } else {
            let known = fact.filter(|samples| rate > 0 && ![0, u32::MAX].contains(samples));
            known.map(|samples| milliseconds(u64::from(samples), rate))
        }
    }

    /// The bytes of one sample of every channel.
    fn frame_bytes(&self) -> u64 {
        match self.block_align {
            0 => u64::from(self.channels) * u64::from(self.bits.div_ceil(8)),
            bytes => u64::from(bytes),
        }
    }
}

/// `amount / per_second` in milliseconds, rounded to the nearest.
fn milliseconds(amount: u64, per_second: u64) -> u64 {
    let (amount, per_second) = (u128::from(amount), u128::from(per_second));
    u64::try_from((amount * 1000 + per_second / 2) / per_second).unwrap_or(u64::MAX)
}
