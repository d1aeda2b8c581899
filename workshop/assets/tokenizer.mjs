// GPT-2's byte-pair encoding (Radford et al. 2019), from the table of merges alone.

const SPACE = "\\p{White_Space}"; // what Rust, in which tiktoken is written, means by \s
const PATTERN = new RegExp("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+" +
  `| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`, "gu");

export class Tokenizer {
  #characters = []; // a byte → the visible character that the table writes for it
  #bytes = new Map(); // and back
  #ids = new Map(); // a token, written in such characters → its id
  #tokens = []; // and back
  #known = new Map(); // a word → its token ids, as many words come again

  /** `merges` is the text of a checkpoint's vocab.bpe. */
  constructor(merges) {
    const range = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const visible = [...range(33, 126), ...range(161, 172), ...range(174, 255)];
    const others = range(0, 255).filter(byte => !visible.includes(byte));
    visible.forEach(byte => { this.#characters[byte] = String.fromCharCode(byte); });
    others.forEach((byte, i) => { this.#characters[byte] = String.fromCharCode(256 + i); });
    this.#characters.forEach((character, byte) => this.#bytes.set(character, byte));
    const pairs = merges.split("\n").slice(1).filter(Boolean).map(line => line.replace(" ", ""));
    const single = [...visible, ...others].map(byte => this.#characters[byte]);
    this.#tokens = [...single, ...pairs]; // ids follow the order of the merges
    this.#tokens.forEach((token, id) => this.#ids.set(token, id));
  }

  /** Returns the token ids of a text; `<|endoftext|>` in it is thirteen plain characters. */
  encode(text) {
    return (text.match(PATTERN) ?? []).flatMap(word => {
      if (!this.#known.has(word)) this.#known.set(word, this.#encodeWord(word));
      return this.#known.get(word);
    });
  }

  /** Merges the pair whose token has the lowest id, again and again. */
  #encodeWord(word) {
    const parts = Array.from(new TextEncoder().encode(word), byte => this.#characters[byte]);
    while (true) {
      let lowest = Infinity, at = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const id = this.#ids.get(parts[i] + parts[i + 1]) ?? Infinity;
        if (id < lowest) [lowest, at] = [id, i];
      }
      if (at < 0) return parts.map(part => this.#ids.get(part));
      parts.splice(at, 2, parts[at] + parts[at + 1]);
    }
  }

  /** Returns a token as a text to look at: a space as ␣, a control character escaped, and a part of
   * a character as its bytes: ⟨F0 9F⟩. */
  show(id) {
    const bytes = Uint8Array.from(this.#tokens[id], character => this.#bytes.get(character));
    const hex = number => number.toString(16).padStart(2, "0");
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
        .replaceAll(" ", "␣")
        .replace(/[\p{C}\p{Z}]/gu, character => escaped(character.codePointAt(0)));
    } catch {
      return `⟨${Array.from(bytes, hex).join(" ").toUpperCase()}⟩`;
    }
  }
}

/** Returns a character's code as Python writes it: \n, \x00, \u200b. */
function escaped(code) {
  const letter = { 9: "t", 10: "n", 13: "r" }[code];
  if (letter) return `\\${letter}`;
  const hex = code.toString(16);
  if (code < 256) return `\\x${hex.padStart(2, "0")}`;
  return code < 65536 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
