//! What can be written as a JSON value.

use std::borrow::Cow;

use super::object::Object;
use super::text::write_string;
use super::value::Value;

/// A value that can be written as JSON: texts, numbers, booleans, options, lists, JSON of this crate and of
/// `serde_json`. For a type of your own that has `Serialize` use `serde_json::to_value`, or
/// [`Object::set_raw`] with `serde_json::to_vec`.
pub trait ToJson {
    /// Appends it as JSON.
    fn write_json(&self, out: &mut Vec<u8>);
}

impl<T: ToJson + ?Sized> ToJson for &T {
    #[inline]
    fn write_json(&self, out: &mut Vec<u8>) {
        (**self).write_json(out);
    }
}

impl ToJson for str {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
    fn write_json(&self, out: &mut Vec<u8>) {
        write_string(self, out);
    }
}

impl ToJson for String {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
    fn write_json(&self, out: &mut Vec<u8>) {
        write_string(self, out);
    }
}

impl<T: ToJson + ToOwned + ?Sized> ToJson for Cow<'_, T> {
    fn write_json(&self, out: &mut Vec<u8>) {
        (**self).write_json(out);
    }
}

impl ToJson for char {
    fn write_json(&self, out: &mut Vec<u8>) {
        write_string(self.encode_utf8(&mut [0; 4]), out);
    }
}

impl ToJson for bool {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
    fn write_json(&self, out: &mut Vec<u8>) {
        // Two copies of known lengths: one of either length would be a call.
        if *self {
            out.extend_from_slice(b"true");
        } else {
            out.extend_from_slice(b"false");
        }
    }
}

/// Null.
impl ToJson for () {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"null");
    }
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        /// Numbers that JSON has no text for (NaN, infinity) become null.
        impl ToJson for $number {
            fn write_json(&self, out: &mut Vec<u8>) {
                write_plain(self, out);
            }
        }
    )* };
}

numbers!(f32 f64);

macro_rules! integers {
    ($($number:ty)*) => { $(
        impl ToJson for $number {
            #[inline(always)]
            #[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
            fn write_json(&self, out: &mut Vec<u8>) {
                match u64::try_from(*self) {
                    Ok(number) => write_natural(number, out),
                    Err(_) => write_plain(self, out),
                }
            }
        }
    )* };
}

integers!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

/// Up to eight digits without a loop; larger numbers are left to `serde_json`.
#[inline(never)]
fn write_natural(number: u64, out: &mut Vec<u8>) {
    if number >= 100_000_000 {
        return write_plain(&number, out);
    }
    // Four digits, pairs of them, single ones: side by side in one word, the first digit in the lowest byte.
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7F_0000_007F;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    let digits = tens | (twos - tens * 10) << 8;
    let zeros = (digits.trailing_zeros() / 8).min(7);
    let text = (digits | 0x3030_3030_3030_3030) >> (zeros * 8);
    let start = out.len();
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(start + 8 - zeros as usize);
}

/// Writing numbers and trees of plain values to a vector cannot fail.
fn write_plain(number: &impl serde::Serialize, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(&mut *out, number);
    debug_assert!(written.is_ok());
}

impl<T: ToJson> ToJson for Option<T> {
    fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write_json(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl<T: ToJson> ToJson for [T] {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (at, item) in self.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            item.write_json(out);
        }
        out.push(b']');
    }
}

impl<T: ToJson, const N: usize> ToJson for [T; N] {
    fn write_json(&self, out: &mut Vec<u8>) {
        self.as_slice().write_json(out);
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn write_json(&self, out: &mut Vec<u8>) {
        self.as_slice().write_json(out);
    }
}

impl ToJson for Value<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.raw());
    }
}

impl ToJson for Object<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        self.write(out);
    }
}

impl ToJson for serde_json::Value {
    fn write_json(&self, out: &mut Vec<u8>) {
        use serde_json::Value;
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(value) => value.write_json(out),
            Value::Number(value) => write_plain(value, out),
            Value::String(value) => write_string(value, out),
            Value::Array(_) | Value::Object(_) => write_plain(self, out),
        }
    }
}

impl ToJson for serde_json::Map<String, serde_json::Value> {
    fn write_json(&self, out: &mut Vec<u8>) {
        write_plain(self, out);
    }
}
