// Texts and bytes. QuickJS has no TextDecoder, and loops over bytes are slow in it; its built-in functions are not.

const BEYOND_ASCII = /[^\x00-\x7f]/;
const CHUNK = 8192;

/** One character per byte. */
export function latin1(bytes) {
  if (bytes.toBase64) return atob(bytes.toBase64());
  const parts = [];
  for (let at = 0; at < bytes.length; at += CHUNK) {
    parts.push(String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK)));
  }
  return parts.join("");
}

/** One byte per character, each of which is below 256. */
export function fromLatin1(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(btoa(text));
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

export const isAscii = (text) => !BEYOND_ASCII.test(text);

/** The text whose UTF-8 these characters are. Throws when they are no UTF-8. */
export const textOf = (latin) => (isAscii(latin) ? latin : decodeURIComponent(escape(latin)));

/** The UTF-8 of a text, one character per byte. Half of a surrogate pair becomes U+FFFD. */
export const latinOf = (text) => (isAscii(text) ? text : unescape(encodeURIComponent(text.toWellFormed())));

/** Bytes to text. Throws a `URIError` when they are no UTF-8. */
export const decode = (bytes) => textOf(latin1(bytes));

/** Text to UTF-8. */
export const encode = (text) => fromLatin1(latinOf(text));
