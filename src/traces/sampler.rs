//! Which traces are recorded: the samplers that `OTEL_TRACES_SAMPLER` names. Pure.

use super::context::{Context, TraceId};

/// Of a trace of our own, and of one that comes without a word of its sender's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    All,
    None,
    /// 0 to 1, decided by the trace's id: who decides by the same share decides the same.
    Ratio(f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    pub share: Share,
    /// What the sender decided holds.
    pub parent_based: bool,
}

impl Default for Sampler {
    /// `parentbased_always_on`, as OpenTelemetry has it.
    fn default() -> Self {
        Self { share: Share::All, parent_based: true }
    }
}

impl Sampler {
    /// `None` for a sampler that we have not.
    pub fn named(name: &str, ratio: f64) -> Option<Self> {
        let (name, parent_based) = match name.strip_prefix("parentbased_") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let share = match name {
            "always_on" => Share::All,
            "always_off" => Share::None,
            "traceidratio" => Share::Ratio(ratio),
            _ => return None,
        };
        Some(Self { share, parent_based })
    }

    /// Whether a span of this trace is recorded.
    pub fn takes(&self, trace: TraceId, parent: Option<&Context>) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.is_sampled(),
            _ => self.share.takes(trace),
        }
    }
}

impl Share {
    fn takes(self, trace: TraceId) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Ratio(share) => {
                let [_, _, _, _, _, _, _, _, low @ ..] = trace.bytes();
                // 63 bits, as the other implementations do: of one trace all decide alike.
                let drawn = u64::from_be_bytes(low) >> 1;
                let bound = (share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
                drawn < bound
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(flags: &str) -> Context {
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        Context::parse(&text, None).unwrap()
    }

    #[test]
    fn the_senders_word_holds_where_it_is_to() {
        let (yes, no) = (parent("01"), parent("00"));
        let takes = |name: &str, parent: Option<&Context>| {
            Sampler::named(name, 1.0).unwrap().takes(TraceId::draw(), parent)
        };
        for (name, own, of_yes, of_no) in [
            ("always_on", true, true, true),
            ("always_off", false, false, false),
            ("traceidratio", true, true, true),
            ("parentbased_always_on", true, true, false),
            ("parentbased_always_off", false, true, false),
            ("parentbased_traceidratio", true, true, false),
        ] {
            let taken = [None, Some(&yes), Some(&no)].map(|parent| takes(name, parent));
            assert_eq!(taken, [own, of_yes, of_no], "{name}");
        }
        assert_eq!(Sampler::named("jaeger_remote", 1.0), None);
        assert_eq!(Sampler::named("parentbased_always_on", 1.0), Some(Sampler::default()));
    }

    #[test]
    fn a_share_is_of_the_traces_id_alone() {
        let share = |ratio| Sampler { share: Share::Ratio(ratio), parent_based: false };
        let traces: Vec<_> = (0..4000).map(|_| TraceId::draw()).collect();
        let taken = |ratio: f64| {
            let sampler = share(ratio);
            traces.iter().filter(|trace| sampler.takes(**trace, None)).count()
        };
        assert_eq!((taken(0.0), taken(1.0)), (0, traces.len()));
        assert!((800..1200).contains(&taken(0.25)), "{}", taken(0.25));
        assert!(
            traces.iter().all(|trace| {
                share(0.5).takes(*trace, None) || !share(0.25).takes(*trace, None)
            })
        );
    }
}
