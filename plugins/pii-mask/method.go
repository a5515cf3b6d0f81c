package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	stdhash "hash"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// method is how a value is masked.
type method uint8

const (
	redact method = iota
	partial
	hash
	format
	null
	drop
)

var methods = map[string]method{"redact": redact, "partial": partial, "hash": hash, "format": format, "null": null, "drop": drop}

var methodNames = func() map[method]string {
	all := map[method]string{}
	for name, method := range methods {
		all[method] = name
	}
	return all
}()

func names[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }

// keyed is a pseudo-random function of a key and a text: HMAC-SHA256.
type keyed struct {
	mac stdhash.Hash
	sum [sha256.Size]byte
}

func newKeyed(key []byte) keyed { return keyed{mac: hmac.New(sha256.New, key)} }

// of gives 32 bytes. The parts are told apart by their lengths; the first says what they are for.
func (k *keyed) of(purpose byte, scope, text string, block uint32) []byte {
	k.mac.Reset()
	var head [9]byte
	head[0] = purpose
	binary.BigEndian.PutUint32(head[1:], uint32(len(scope)))
	binary.BigEndian.PutUint32(head[5:], block)
	k.mac.Write(head[:])
	k.mac.Write([]byte(scope))
	k.mac.Write([]byte(text))
	return k.mac.Sum(k.sum[:0])
}

const (
	forHash   = 'h'
	forFormat = 'f'
)

// mask gives what stands in the place of a text. `plain` is the text without what may differ in how it is written.
func (r *rule) mask(k *keyed, text, plain string) string {
	switch r.method {
	case partial:
		return keepLast(text, r.keep, r.with)
	case hash:
		return hex.EncodeToString(k.of(forHash, r.scope, plain, 0))[:r.length]
	case format:
		return k.inFormat(r.scope, text, plain)
	default:
		return r.with
	}
}

// keepLast puts a sign in the place of each letter and digit but the last ones. Of a short text, of which much would be left,
// nothing is kept.
func keepLast(text string, keep int, with string) string {
	count := 0
	for _, sign := range text {
		if isCounted(sign) {
			count++
		}
	}
	hidden := count - keep
	if count < 2*keep {
		hidden = count
	}
	var masked strings.Builder
	for _, sign := range text {
		if isCounted(sign) && hidden > 0 {
			hidden--
			masked.WriteString(with)
		} else {
			masked.WriteRune(sign)
		}
	}
	return masked.String()
}

// isCounted tells letters, with what is set on them, and digits from what holds them apart.
func isCounted(sign rune) bool {
	if sign < utf8.RuneSelf {
		return sign >= '0' && sign <= '9' || sign >= 'a' && sign <= 'z' || sign >= 'A' && sign <= 'Z'
	}
	return unicode.IsLetter(sign) || unicode.IsMark(sign) || unicode.IsNumber(sign) || unicode.IsSymbol(sign)
}

// dice gives pseudo-random numbers that depend on a text.
type dice struct {
	keyed       *keyed
	scope, text string
	block       uint32
	left        []byte
}

// below gives a number below `most`, each equally likely.
func (d *dice) below(most byte) byte {
	limit := 256 / int(most) * int(most)
	for {
		if len(d.left) == 0 {
			d.left = d.keyed.of(forFormat, d.scope, d.text, d.block)
			d.block++
		}
		next := d.left[0]
		d.left = d.left[1:]
		if int(next) < limit {
			return next % most
		}
	}
}

// inFormat replaces each digit by a digit and each letter by one of the same case. What is neither stays.
func (k *keyed) inFormat(scope, text, plain string) string {
	dice := dice{keyed: k, scope: scope, text: plain}
	var masked strings.Builder
	for _, sign := range text {
		switch {
		case sign >= '0' && sign <= '9':
			masked.WriteByte('0' + dice.below(10))
		case !isCounted(sign):
			masked.WriteRune(sign)
		case unicode.IsUpper(sign):
			masked.WriteByte('A' + dice.below(26))
		default:
			masked.WriteByte('a' + dice.below(26))
		}
	}
	return masked.String()
}

// number is what the method makes of a JSON number: with `format` it stays one. A zero in front stays, and no other comes.
func (k *keyed) number(scope, text string) string {
	dice := dice{keyed: k, scope: scope, text: text}
	masked := []byte(text)
	isFirst := true
	for i, sign := range masked {
		switch {
		case sign == 'e' || sign == 'E':
			return string(masked)
		case !isDigit(sign):
			continue
		case !isFirst:
			masked[i] = '0' + dice.below(10)
		case sign != '0':
			masked[i] = '1' + dice.below(9)
		}
		isFirst = false
	}
	return string(masked)
}
