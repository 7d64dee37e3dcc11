package wechat

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
	"slices"
	"strings"
)

// Sizes of the platform's envelope: AES-256-CBC, PKCS#7 with a block of 32,
// plaintext = 16 random bytes, 4 bytes of length, message, app id.
const (
	encodedKeyLen = 43
	padBlock      = 32
	randomLen     = 16
	headLen       = randomLen + 4
)

// Errors of the envelope. None says why a padding was wrong: that would be an
// oracle.
var (
	// ErrKey says that an EncodingAESKey is malformed.
	ErrKey = errors.New("EncodingAESKey is not 43 characters of base64")
	// ErrCiphertext says that no key opens the ciphertext.
	ErrCiphertext = errors.New("ciphertext cannot be opened")
	// ErrAppID says that the message was meant for another account.
	ErrAppID = errors.New("the message carries another app id")
)

// Key is one decoded EncodingAESKey.
type Key struct {
	block cipher.Block
	iv    [aes.BlockSize]byte
}

// ParseKey decodes an EncodingAESKey of 43 characters.
func ParseKey(encoded string) (*Key, error) {
	if len(encoded) != encodedKeyLen {
		return nil, ErrKey
	}
	// Not Strict: the 43rd character carries two bits that mean nothing, and
	// the platform's own generator sets them (the official samples do).
	raw, err := base64.StdEncoding.DecodeString(encoded + "=")
	if err != nil || len(raw) != 32 {
		return nil, ErrKey
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("make the cipher: %w", err)
	}
	k := &Key{block: block}
	copy(k.iv[:], raw)
	return k, nil
}

// Seal encrypts a message for an account and returns standard base64.
func (k *Key) Seal(message []byte, appID string) (string, error) {
	var random [randomLen]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("draw the random head: %w", err)
	}
	return k.seal(random, message, appID), nil
}

func (k *Key) seal(random [randomLen]byte, message []byte, appID string) string {
	size := headLen + len(message) + len(appID)
	pad := padBlock - size%padBlock
	plain := make([]byte, 0, size+pad)
	plain = append(plain, random[:]...)
	plain = binary.BigEndian.AppendUint32(plain, uint32(len(message)))
	plain = append(plain, message...)
	plain = append(plain, appID...)
	plain = append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(k.block, k.iv[:]).CryptBlocks(plain, plain)
	return base64.StdEncoding.EncodeToString(plain)
}

// open decrypts and checks the envelope; the app id is returned, not judged.
func (k *Key) open(cipherText []byte) (message []byte, appID string, err error) {
	if len(cipherText) == 0 || len(cipherText)%padBlock != 0 {
		return nil, "", ErrCiphertext
	}
	plain := make([]byte, len(cipherText))
	cipher.NewCBCDecrypter(k.block, k.iv[:]).CryptBlocks(plain, cipherText)

	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > padBlock {
		return nil, "", ErrCiphertext
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			return nil, "", ErrCiphertext
		}
	}
	plain = plain[:len(plain)-pad]
	if len(plain) < headLen {
		return nil, "", ErrCiphertext
	}
	size := binary.BigEndian.Uint32(plain[randomLen:headLen])
	if uint64(size) > uint64(len(plain)-headLen) {
		return nil, "", ErrCiphertext
	}
	end := headLen + int(size)
	return plain[headLen:end:end], string(plain[end:]), nil
}

// Keyring opens with the current key or, while keys are being rotated, with
// the previous one.
type Keyring struct {
	appID string
	keys  []*Key
}

// NewKeyring parses the current key and, when it isn't empty, the previous one.
func NewKeyring(appID, current, previous string) (*Keyring, error) {
	r := &Keyring{appID: appID}
	for _, encoded := range []string{current, previous} {
		if encoded == "" {
			continue
		}
		k, err := ParseKey(encoded)
		if err != nil {
			return nil, err
		}
		r.keys = append(r.keys, k)
	}
	if len(r.keys) == 0 {
		return nil, ErrKey
	}
	return r, nil
}

// Open decrypts standard base64 and returns the key that fitted, with which a
// reply is to be sealed: it is the one the platform certainly has.
func (r *Keyring) Open(encoded string) (message []byte, k *Key, err error) {
	cipherText, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, nil, ErrCiphertext
	}
	foreign := false
	for _, k := range r.keys {
		message, appID, err := k.open(cipherText)
		if err != nil {
			continue
		}
		// A wrong key yields a right padding once in some hundred tries, so a
		// foreign app id only counts after every key has been tried.
		if subtle.ConstantTimeCompare([]byte(appID), []byte(r.appID)) != 1 {
			foreign = true
			continue
		}
		return message, k, nil
	}
	if foreign {
		return nil, nil, ErrAppID
	}
	return nil, nil, ErrCiphertext
}

// Sign is the platform's signature: lower-case hex of SHA-1 over the sorted
// parts. Plain pushes sign (token, timestamp, nonce), encrypted ones also the
// ciphertext.
func Sign(parts ...string) string {
	sorted := slices.Clone(parts)
	slices.Sort(sorted)
	sum := sha1.Sum([]byte(strings.Join(sorted, "")))
	return hex.EncodeToString(sum[:])
}

// SignatureOK compares in constant time.
func SignatureOK(given string, parts ...string) bool {
	want := Sign(parts...)
	return subtle.ConstantTimeCompare([]byte(given), []byte(want)) == 1
}
