//! `printf` of a pinned iterator: it appends to the file that is being read, piece by piece.
//!
//! ```text
//! printf("%s is %d\n", ctx.task.comm, ctx.task.pid)
//!     ->  bpf_seq_write(file, name, its length)
//!         bpf_seq_write(file, " is ", 4)
//!         bpf_seq_printf(file, "%d", 3, { the number }, 8)
//!         bpf_seq_write(file, "\n", 1)
//! ```
//!
//! The kernel's `%s` wants an address in memory, which would keep the text on the stack. `check::pinned` has seen to it that
//! there is a way to print everything.

use crate::helpers;
use crate::hir::{Expr, ExprKind};
use crate::ir::{Cond, UnaryOp, Value, Width};
use crate::lower::memory::Place;
use crate::lower::probe::ProgramLowering;
use crate::plan::{Conversion, Format, FormatPiece, Verb};
use crate::types::Type;

impl ProgramLowering<'_, '_> {
    /// `printf(format, args)`
    pub fn seq_printf(&mut self, format: &Format, args: &[Expr]) {
        let mut args = args.iter();
        for piece in &format.pieces {
            match piece {
                FormatPiece::Text(text) => {
                    let place = self.literal(text);
                    let length = self.b.int(text.len() as i64);
                    self.seq_write(place, length);
                }
                FormatPiece::Conversion(conversion) => {
                    if let Some(arg) = args.next() {
                        self.append(conversion, arg);
                    }
                }
            }
        }
    }

    fn append(&mut self, conversion: &Conversion, arg: &Expr) {
        match conversion.verb {
            Verb::Char => {
                let value = self.scalar(arg);
                let byte = self.temporary(&arg.ty, None);
                self.b.store(Width::W8, byte.ptr, byte.off, value);
                let one = self.b.int(1);
                self.seq_write(byte, one);
            }
            Verb::Text => self.append_text(conversion, arg),
            _ => {
                let value = self.number(conversion, arg);
                let data = self.temporary(&Type::U64, None);
                self.b.store(Width::W64, data.ptr, data.off, value);
                let text = kernel_conversion(conversion);
                let format = self.literal(text.as_bytes());
                let (size, bytes) = (self.b.int(text.len() as i64 + 1), self.b.int(8));
                let file = self.iterator_file();
                self.b.call(helpers::SEQ_PRINTF, &[file, format.ptr, size, data.ptr, bytes]);
            }
        }
    }

    /// A text with blanks up to its width, before it or behind it.
    fn append_text(&mut self, conversion: &Conversion, arg: &Expr) {
        let capacity = arg.ty.size();
        let place = self.temporary(&arg.ty, None);
        self.write(arg, place);
        let length = self.length_at(place, capacity);
        let length = self.at_most(length, i64::from(capacity));
        if !conversion.left {
            self.pad(conversion.width, length);
        }
        self.seq_write(place, length);
        if conversion.left {
            self.pad(conversion.width, length);
        }
    }

    fn pad(&mut self, width: Option<u32>, length: Value) {
        let Some(width) = width else { return };
        let (pad, after) = (self.b.block(), self.b.block());
        let limit = self.b.int(i64::from(width));
        self.b.branch(Cond::Ult, length, limit, pad, after);
        self.b.switch_to(pad);
        let blanks = self.literal(&vec![b' '; width as usize]);
        let missing = self.b.binary(crate::ir::BinaryOp::Sub, limit, length);
        let missing = self.at_most(missing, i64::from(width));
        self.seq_write(blanks, missing);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    fn seq_write(&mut self, from: Place, length: Value) {
        let file = self.iterator_file();
        let address = self.b.offset_int(from.ptr, i64::from(from.off));
        self.b.call(helpers::SEQ_WRITE, &[file, address, length]);
    }

    /// A text with its NUL.
    fn literal(&mut self, text: &[u8]) -> Place {
        let ty = Type::Str { cap: text.len() as u32 + 1 };
        let place = self.temporary(&ty, None);
        self.write(&Expr { kind: ExprKind::Text(text.to_vec()), ty, span: self.b.span }, place);
        place
    }

    /// A number of as many bits as the conversion takes: the kernel knows 32 and 64.
    fn number(&mut self, conversion: &Conversion, arg: &Expr) -> Value {
        let value = self.scalar(arg);
        match (conversion.verb, Width::of_bytes(u32::from(conversion.bits / 8))) {
            (Verb::Signed, Some(width @ (Width::W8 | Width::W16))) => {
                self.b.unary(UnaryOp::Sext(width), value)
            }
            (_, Some(width @ (Width::W8 | Width::W16))) => self.b.unary(UnaryOp::Zext(width), value),
            _ => value,
        }
    }
}

/// The conversion of a number as the kernel writes it. Its own `%p` hides addresses, and it has no `#`.
fn kernel_conversion(conversion: &Conversion) -> String {
    let Conversion { left, zero, plus, space, alternate, width, precision: _, bits, verb } = *conversion;
    let is_pointer = verb == Verb::Pointer;
    let is_prefixed = is_pointer || (alternate && matches!(verb, Verb::Hex | Verb::HexUpper));
    let mut out = String::from(if is_prefixed { "0x%" } else { "%" });
    let flags = [(left, '-'), (zero, '0'), (plus, '+'), (space, ' ')];
    flags.into_iter().for_each(|(flag, letter)| out.extend(flag.then_some(letter)));
    out.extend(width.map(|width| width.to_string()));
    if bits == 64 || is_pointer {
        out.push_str("ll");
    }
    out.push(match verb {
        Verb::Signed => 'd',
        Verb::Unsigned => 'u',
        Verb::HexUpper => 'X',
        _ => 'x',
    });
    out
}
