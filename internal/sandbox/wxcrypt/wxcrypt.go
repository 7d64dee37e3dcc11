// Package wxcrypt is the encryption of WeChat and WeCom callbacks as their
// servers do it: AES-256-CBC over random(16) + length(4) + message + receiver
// id, padded to blocks of 32, and SHA-1 signatures over sorted parts.
//
// It belongs to the simulators and is written apart from the product's own,
// so that one mistake cannot be on both sides of the wire.
package wxcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// ErrBad is the root of every refusal to decrypt.
var ErrBad = errors.New("wxcrypt: bad ciphertext")

const (
	padBlock   = 32
	randomLen  = 16
	headerLen  = randomLen + 4
	encodedKey = 43
)

// Key is a parsed EncodingAESKey.
type Key struct{ raw []byte }

// ParseKey takes the 43 characters of an EncodingAESKey.
func ParseKey(s string) (Key, error) {
	if len(s) != encodedKey {
		return Key{}, fmt.Errorf("wxcrypt: an EncodingAESKey has %d characters, not %d", encodedKey, len(s))
	}
	// Not strict: real keys carry stray low bits in the last character.
	raw, err := base64.StdEncoding.DecodeString(s + "=")
	if err != nil {
		return Key{}, errors.New("wxcrypt: the EncodingAESKey is not base64")
	}
	return Key{raw}, nil
}

// Valid says whether the key was parsed.
func (k Key) Valid() bool { return len(k.raw) == 32 }

// Encrypt seals msg for the receiver id with fresh random bytes.
func (k Key) Encrypt(msg []byte, id string) (string, error) {
	var random [randomLen]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("wxcrypt: random bytes: %w", err)
	}
	return k.EncryptWith(random, msg, id)
}

// EncryptWith is Encrypt with given random bytes, for test vectors.
func (k Key) EncryptWith(random [randomLen]byte, msg []byte, id string) (string, error) {
	if !k.Valid() {
		return "", errors.New("wxcrypt: no key")
	}
	n := headerLen + len(msg) + len(id)
	pad := padBlock - n%padBlock
	b := make([]byte, 0, n+pad)
	b = append(b, random[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(msg)))
	b = append(b, msg...)
	b = append(b, id...)
	b = append(b, bytes.Repeat([]byte{byte(pad)}, pad)...)
	block, err := aes.NewCipher(k.raw)
	if err != nil {
		return "", fmt.Errorf("wxcrypt: %w", err)
	}
	cipher.NewCBCEncrypter(block, k.raw[:aes.BlockSize]).CryptBlocks(b, b)
	return base64.StdEncoding.EncodeToString(b), nil
}

// Decrypt opens a ciphertext and answers the message and the receiver id
// that it names, which the caller must compare. Errors wrap ErrBad.
func (k Key) Decrypt(encrypted string) (msg []byte, id string, err error) {
	if !k.Valid() {
		return nil, "", errors.New("wxcrypt: no key")
	}
	b, err := base64.StdEncoding.DecodeString(encrypted)
	if err != nil {
		return nil, "", fmt.Errorf("%w: not base64", ErrBad)
	}
	if len(b) == 0 || len(b)%padBlock != 0 {
		return nil, "", fmt.Errorf("%w: length %d is no multiple of %d", ErrBad, len(b), padBlock)
	}
	block, err := aes.NewCipher(k.raw)
	if err != nil {
		return nil, "", fmt.Errorf("wxcrypt: %w", err)
	}
	cipher.NewCBCDecrypter(block, k.raw[:aes.BlockSize]).CryptBlocks(b, b)
	pad := int(b[len(b)-1])
	if pad < 1 || pad > padBlock || pad > len(b)-headerLen {
		return nil, "", fmt.Errorf("%w: padding", ErrBad)
	}
	b = b[:len(b)-pad]
	n := binary.BigEndian.Uint32(b[randomLen:headerLen])
	if uint64(n) > uint64(len(b)-headerLen) {
		return nil, "", fmt.Errorf("%w: message length", ErrBad)
	}
	end := headerLen + int(n)
	return b[headerLen:end], string(b[end:]), nil
}

// Signature is the lower-case hex SHA-1 over the sorted parts: token,
// timestamp, nonce and, for a ciphertext, that.
func Signature(parts ...string) string {
	sorted := append([]string(nil), parts...)
	sort.Strings(sorted)
	sum := sha1.Sum([]byte(strings.Join(sorted, "")))
	return hex.EncodeToString(sum[:])
}

// Equal compares signatures in constant time.
func Equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
