//! Scanning strings: for their end, and for constant texts.
//!
//! A loop over a string's bytes has as many ways out as bytes, and the kernel verifier follows each of them to the
//! program's end: two such loops of 1024 bytes are more than it walks. So a scan is a function that is called; the
//! kernel verifier walks that once, on its own. It goes by words of eight bytes, and each word
//! has one way out.
//!
//! ```text
//! zeros(w) = (w - 0x0101010101010101) & ~w & 0x8080808080808080     bit 7 of the lowest byte that is 0, and maybe of some above it
//! the end     the first word with zeros, and the lowest in it
//! a text      words in which zeros(w ^ first byte of the text, eight times) is not 0: at each of their eight bytes
//!             the text is compared with the words from there, shifted
//! ```
//!
//! Kernels without such functions (before Linux 5.12), and texts too long to be worth it, get the loop over bytes.

use crate::helpers;
use crate::hir::Expr;
use crate::ir::{BinaryOp as IrOp, Block, Cond, Type as IrType, UnaryOp, Value, Width};
use crate::lower::builder::Builder;
use crate::lower::memory::Place;
use crate::lower::probe::ProgramLowering;

/// Bytes of a word.
const WORD: u32 = 8;
/// The longest text that is looked for by words, in bytes.
const LONGEST_TEXT: usize = 64;
/// The lowest bit of each byte of a word.
const LOW_BITS: i64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const HIGH_BITS: i64 = LOW_BITS << 7;

/// What is scanned for, in strings of how many bytes: what has a function of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scan {
    capacity: u32,
    /// The text; `None` for the end of the string.
    text: Option<Vec<u8>>,
}

impl ProgramLowering<'_, '_> {
    /// Where a constant text is in a string in memory, -1 if nowhere; `None` if that has to be tried byte by byte.
    pub fn scan_for(&mut self, place: Place, capacity: u32, text: &[u8]) -> Option<Value> {
        let by_words = self.has_functions() && text.len() <= LONGEST_TEXT;
        if !by_words || text.is_empty() || text.contains(&0) || text.len() >= capacity as usize {
            return None;
        }
        Some(self.scan(place, Scan { capacity, text: Some(text.to_owned()) }))
    }

    /// Length of a string in memory: the index of its NUL.
    pub fn string_length(&mut self, e: &Expr) -> Value {
        let place = self.place(e);
        self.length_at(place, e.ty.size())
    }

    /// How many bytes of text are at a place of this capacity.
    pub fn length_at(&mut self, place: Place, capacity: u32) -> Value {
        if self.has_functions() {
            return self.scan(place, Scan { capacity, text: None });
        }
        length_by_bytes(&mut self.b, place, capacity)
    }

    /// Whether the kernel takes functions that get an address. Their commit, e5069b9c23b3 ("bpf: Support pointers in
    /// global func args"), is older than `bpf_for_each_map_elem`.
    pub fn has_functions(&self) -> bool {
        self.lowering.features().for_each_map_elem
    }

    fn scan(&mut self, place: Place, scan: Scan) -> Value {
        let capacity = scan.capacity;
        let function = match self.scans.get(&scan) {
            Some(function) => *function,
            None => {
                let function = self.functions.push(scan_function(&scan, self.b.span));
                self.scans.insert(scan, function);
                function
            }
        };
        let address = self.b.offset_int(place.ptr, i64::from(place.off));
        let (function, bytes) = (self.b.fn_addr(function), self.b.int(i64::from(capacity)));
        self.b.call(helpers::CALL_FUNCTION, &[function, address, bytes])
    }
}

/// The function of a scan.
fn scan_function(scan: &Scan, span: memql_grammar::ast::Span) -> crate::ir::Function {
    let mut b = Builder::new(&[IrType::Map], span);
    let string = b.param(0);
    let (there, missing) = (b.block(), b.block());
    // The kernel verifier takes it that the address may be null.
    b.branch_int(Cond::Ne, string, 0, there, missing);
    b.switch_to(missing);
    b.ret(if scan.text.is_some() { -1 } else { 0 });
    b.switch_to(there);
    let mut scanner = Scanner { b, string, capacity: scan.capacity, missing };
    match &scan.text {
        None => scanner.length(),
        Some(text) => scanner.contains(text),
    }
    scanner.b.finish()
}

struct Scanner {
    b: Builder,
    /// The string's address.
    string: Value,
    /// Its bytes.
    capacity: u32,
    /// Returns what says that there is nothing.
    missing: Block,
}

impl Scanner {
    /// Runs `body` for each offset of a word from 0 that is below `end`; what it leaves current goes on with the next.
    fn words(&mut self, end: u32, body: impl FnOnce(&mut Self, Value)) {
        if end == 0 {
            return;
        }
        let (head, offset) = self.b.block_with(IrType::I64);
        let (inside, after) = (self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        self.b.branch_int(Cond::Ult, offset, i64::from(end), inside, after);
        self.b.switch_to(inside);
        body(self, offset);
        let next = self.b.binary_int(IrOp::Add, offset, i64::from(WORD));
        self.b.jump(head, &[next]);
        self.b.switch_to(after);
    }

    /// The word at an offset; what is behind the string is 0.
    fn word(&mut self, at: u32) -> Value {
        if at + WORD <= self.capacity {
            return self.b.load(Width::W64, false, self.string, at as i32);
        }
        let mut word = self.b.int(0);
        for byte in at..self.capacity {
            let value = self.b.load(Width::W8, false, self.string, byte as i32);
            let shifted = self.b.binary_int(IrOp::Shl, value, i64::from(byte - at) * 8);
            word = self.b.binary(IrOp::Or, word, shifted);
        }
        word
    }

    fn zeros(&mut self, word: Value) -> Value {
        let less = self.b.binary_int(IrOp::Sub, word, LOW_BITS);
        let not = self.b.binary_int(IrOp::Xor, word, -1);
        let both = self.b.binary(IrOp::And, less, not);
        self.b.binary_int(IrOp::And, both, HIGH_BITS)
    }

    fn length(&mut self) {
        let whole = self.capacity / WORD * WORD;
        self.words(whole, |s, offset| {
            let at = s.b.offset(s.string, offset);
            let word = s.b.load(Width::W64, false, at, 0);
            s.end_if_zero_in(word, |_| offset);
        });
        if whole < self.capacity {
            let word = self.word(whole);
            self.end_if_zero_in(word, |b| b.int(i64::from(whole)));
        }
        self.b.ret(i64::from(self.capacity));
    }

    /// Returns the place of the lowest zero in a word, if there is one, plus the word's offset.
    fn end_if_zero_in(&mut self, word: Value, offset: impl FnOnce(&mut Builder) -> Value) {
        let zeros = self.zeros(word);
        let (found, next) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ne, zeros, 0, found, next);
        self.b.switch_to(found);
        let zeros = self.b.binary_int(IrOp::Lshr, zeros, 7);
        let index = self.lowest_byte(zeros);
        let offset = offset(&mut self.b);
        let length = self.b.binary(IrOp::Add, offset, index);
        self.b.ret_value(length);
        self.b.switch_to(next);
    }

    /// Which byte is the lowest whose lowest bit is set; no other bits may be.
    fn lowest_byte(&mut self, bits: Value) -> Value {
        let minus = self.b.unary(UnaryOp::Neg, bits);
        let lowest = self.b.binary(IrOp::And, bits, minus);
        // Moved up by n bytes, byte 7 - n of this number is its top byte.
        let product = self.b.binary_int(IrOp::Mul, lowest, 0x0001_0203_0405_0607);
        self.b.binary_int(IrOp::Lshr, product, 56)
    }

    fn contains(&mut self, text: &[u8]) {
        // How many words the text may reach into from a word in which it begins.
        let reach = (text.len() as u32 + WORD - 1).div_ceil(WORD);
        let words = self.capacity.div_ceil(WORD);
        let looped = (self.capacity / WORD + 1).saturating_sub(reach);
        self.words(looped * WORD, |s, offset| {
            let at = s.b.offset(s.string, offset);
            let here: Vec<Value> =
                (0..reach).map(|n| s.b.load(Width::W64, false, at, (n * WORD) as i32)).collect();
            s.compare(&here, text, |_| offset);
        });
        for first in looped..words {
            let here: Vec<Value> = (first..first + reach).map(|n| self.word(n * WORD)).collect();
            self.compare(&here, text, |b| b.int(i64::from(first * WORD)));
        }
        self.b.ret(-1);
    }

    /// Returns where the text begins if it does so in the first of these words, -1 if the string ends there.
    fn compare(&mut self, words: &[Value], text: &[u8], offset: impl FnOnce(&mut Builder) -> Value) {
        let (look, skip) = (self.b.block(), self.b.block());
        let ends = self.zeros(words[0]);
        let first = self.b.binary_int(IrOp::Xor, words[0], i64::from(text[0]).wrapping_mul(LOW_BITS));
        let first = self.zeros(first);
        self.b.branch_int(Cond::Ne, first, 0, look, skip);
        self.b.switch_to(look);
        let mut hits = self.b.int(0);
        for byte in 0..WORD {
            let differences = self.differences(words, byte, text);
            // Bit 63 of `d | -d` is set unless d is 0.
            let minus = self.b.unary(UnaryOp::Neg, differences);
            let any = self.b.binary(IrOp::Or, differences, minus);
            let miss = self.b.binary_int(IrOp::Lshr, any, 63);
            let hit = self.b.binary_int(IrOp::Xor, miss, 1);
            let hit = self.b.binary_int(IrOp::Shl, hit, i64::from(byte) * 8);
            hits = self.b.binary(IrOp::Or, hits, hit);
        }
        // What is behind the string's NUL is not text: only bits below the lowest of `ends`, which are all if that is 0.
        let minus = self.b.unary(UnaryOp::Neg, ends);
        let lowest = self.b.binary(IrOp::And, ends, minus);
        let before = self.b.binary_int(IrOp::Sub, lowest, 1);
        let hits = self.b.binary(IrOp::And, hits, before);
        let found = self.b.block();
        self.b.branch_int(Cond::Ne, hits, 0, found, skip);
        self.b.switch_to(found);
        let index = self.lowest_byte(hits);
        let offset = offset(&mut self.b);
        let place = self.b.binary(IrOp::Add, offset, index);
        self.b.ret_value(place);
        self.b.switch_to(skip);
        let next = self.b.block();
        self.b.branch_int(Cond::Eq, ends, 0, next, self.missing);
        self.b.switch_to(next);
    }

    /// A number that is 0 if the text stands at this byte of the first word.
    fn differences(&mut self, words: &[Value], byte: u32, text: &[u8]) -> Value {
        let mut all = self.b.int(0);
        for (n, chunk) in text.chunks(WORD as usize).enumerate() {
            let mut wanted = [0; WORD as usize];
            wanted[..chunk.len()].copy_from_slice(chunk);
            let mut here = words[n];
            if byte > 0 {
                here = self.b.binary_int(IrOp::Lshr, here, i64::from(byte) * 8);
                if byte + chunk.len() as u32 > WORD {
                    let above = self.b.binary_int(IrOp::Shl, words[n + 1], i64::from(WORD - byte) * 8);
                    here = self.b.binary(IrOp::Or, here, above);
                }
            }
            let mut different = self.b.binary_int(IrOp::Xor, here, i64::from_le_bytes(wanted));
            let unused = WORD - chunk.len() as u32;
            if unused > 0 {
                different = self.b.binary_int(IrOp::Shl, different, i64::from(unused) * 8);
            }
            all = self.b.binary(IrOp::Or, all, different);
        }
        all
    }
}

/// Goes from byte to byte.
fn length_by_bytes(b: &mut Builder, place: Place, capacity: u32) -> Value {
    let (head, count) = b.block_with(IrType::I64);
    let (body, after) = (b.block(), b.block());
    let zero = b.int(0);
    b.jump(head, &[zero]);
    b.switch_to(head);
    let inside = b.block();
    b.branch_int(Cond::Ult, count, i64::from(capacity), inside, after);
    b.switch_to(inside);
    let at = b.offset(place.ptr, count);
    let byte = b.load(Width::W8, false, at, place.off);
    b.branch_int(Cond::Ne, byte, 0, body, after);
    b.switch_to(body);
    let next = b.binary_int(IrOp::Add, count, 1);
    b.jump(head, &[next]);
    b.switch_to(after);
    count
}
