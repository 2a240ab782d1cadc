//! Numbers that look random and are the same every time.

/// Marsaglia's xorshift with 64 bits.
pub struct Random(u64);

impl Random {
    /// A sequence; the seed may be anything.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}
