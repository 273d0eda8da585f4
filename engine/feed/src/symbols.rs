//! From the bytes of a symbol to its instrument, without hashing text byte by byte.

use tidegate_wire::{Instrument, InstrumentId, Registry, Scale, Venue};

/// A symbol of up to 24 bytes as three words, padded with zeros.
type Key = [u64; 3];

/// What a decoder needs of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    key: Key,
    /// The instrument.
    pub id: InstrumentId,
    /// Decimals of its prices.
    pub price_scale: Scale,
    /// Decimals of its quantities.
    pub qty_scale: Scale,
}

impl Entry {
    /// What is needed of an instrument.
    pub(crate) fn new(id: InstrumentId, instrument: &Instrument) -> Self {
        let mut padded = [0; 24];
        padded[..instrument.symbol.len()].copy_from_slice(instrument.symbol.as_bytes());
        let (price_scale, qty_scale) = (instrument.price_scale, instrument.qty_scale);
        Self { key: words(&padded), id, price_scale, qty_scale }
    }
}

/// The instruments of one venue by symbol: open addressing, at most half full, built once.
#[derive(Clone, Debug)]
pub struct SymbolTable {
    slots: Box<[Option<Entry>]>,
    mask: usize,
}

impl SymbolTable {
    /// The table of a venue's instruments.
    pub fn new(registry: &Registry, venue: Venue) -> Self {
        let ours: Vec<_> = registry.iter().filter(|(_, i)| i.venue == venue).collect();
        let size = (ours.len() * 2).next_power_of_two().max(2);
        let mut table = Self { slots: vec![None; size].into_boxed_slice(), mask: size - 1 };
        for (id, instrument) in ours {
            table.insert(id, instrument);
        }
        table
    }

    fn insert(&mut self, id: InstrumentId, instrument: &Instrument) {
        let entry = Entry::new(id, instrument);
        let mut slot = hash(&entry.key) & self.mask;
        while self.slots[slot].is_some() {
            slot = (slot + 1) & self.mask;
        }
        self.slots[slot] = Some(entry);
    }

    /// The instrument of `symbol`.
    pub fn find(&self, symbol: &[u8]) -> Option<&Entry> {
        // A key is padded with zeros: a symbol that ends with one would be found under its shorter name.
        if symbol.last() == Some(&0) {
            return None;
        }
        let mut padded = [0; 24];
        padded.get_mut(..symbol.len())?.copy_from_slice(symbol);
        self.probe(&words(&padded))
    }

    /// The instrument of the symbol of `length` bytes at the start of `bytes`; `bytes` has at least 24.
    #[inline(always)]
    pub(crate) fn find_padded(&self, bytes: &[u8; 24], length: usize) -> Option<&Entry> {
        if length > Instrument::SYMBOL_MAX {
            return None;
        }
        let mut key = words(bytes);
        for (i, word) in key.iter_mut().enumerate() {
            let kept = length.saturating_sub(i * 8).min(8);
            *word &= if kept == 8 { u64::MAX } else { (1 << (kept * 8)) - 1 };
        }
        self.probe(&key)
    }

    #[inline(always)]
    fn probe(&self, key: &Key) -> Option<&Entry> {
        let mut slot = hash(key) & self.mask;
        while let Some(entry) = &self.slots[slot] {
            if entry.key == *key {
                return Some(entry);
            }
            slot = (slot + 1) & self.mask;
        }
        None
    }

    /// The entry of an instrument; cold path.
    pub fn entry(&self, id: InstrumentId) -> Option<&Entry> {
        self.slots.iter().flatten().find(|entry| entry.id == id)
    }
}

#[inline(always)]
fn words(bytes: &[u8; 24]) -> Key {
    core::array::from_fn(|i| u64::from_le_bytes(core::array::from_fn(|k| bytes[i * 8 + k])))
}

#[inline(always)]
fn hash(key: &Key) -> usize {
    // Fibonacci hashing of the folded words: symbols differ in their first bytes and in their length.
    let folded = key[0] ^ key[1].rotate_left(23) ^ key[2].rotate_left(41);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_is_found_and_no_other() {
        let mut registry = Registry::new();
        let long = "ABCDEFGHIJKLMNOPQRSTUVWX".to_string();
        let symbols: Vec<String> = (0..300).map(|i| format!("S{i}USDT")).chain([long.clone()]).collect();
        for symbol in &symbols {
            let instrument = Instrument::linear(Venue::BinanceSpot, symbol, 2, 2);
            registry.add(instrument).expect("a good instrument");
        }
        let table = SymbolTable::new(&registry, Venue::BinanceSpot);
        for (index, symbol) in symbols.iter().enumerate() {
            assert_eq!(table.find(symbol.as_bytes()).map(|e| e.id), Some(InstrumentId(index as u16)));
            let mut bytes = [b'"'; 24];
            bytes[..symbol.len()].copy_from_slice(symbol.as_bytes());
            assert_eq!(table.find_padded(&bytes, symbol.len()).map(|e| e.id.index()), Some(index));
        }
        for foreign in ["", "S300USDT", "S1USD", "s1usdt", "ABCDEFGHIJKLMNOPQRSTUVWXY", "S1USDT\0"] {
            assert_eq!(table.find(foreign.as_bytes()), None, "{foreign}");
        }
        assert!(SymbolTable::new(&registry, Venue::BinanceUsdm).find(b"S1USDT").is_none());
    }
}
