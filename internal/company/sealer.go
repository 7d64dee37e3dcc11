package company

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// KeySize is the length of the master key in bytes.
const KeySize = 32

// ErrSealed says that sealed bytes do not open: another master key, another
// place, or damage.
var ErrSealed = errors.New("company: sealed value does not open with this master key")

const (
	sealVersion = 1
	nonceSize   = 12
)

// Sealer encrypts what must not be read from a stolen database or spool:
// AES-256-GCM under a key derived from the installation's master key. Safe for
// concurrent use.
type Sealer struct {
	aead cipher.AEAD
	mac  []byte
}

// NewSealer takes the master key of KeySize random bytes.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("company: master key has %d bytes; it must have %d (make one with: openssl rand -base64 32)", len(key), KeySize)
	}
	seal, err := hkdf.Key(sha256.New, key, nil, "guanjia seal v1", KeySize)
	if err != nil {
		return nil, fmt.Errorf("company: derive sealing key: %w", err)
	}
	mac, err := hkdf.Key(sha256.New, key, nil, "guanjia mac v1", KeySize)
	if err != nil {
		return nil, fmt.Errorf("company: derive code key: %w", err)
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, fmt.Errorf("company: sealing cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("company: sealing mode: %w", err)
	}
	return &Sealer{aead: aead, mac: mac}, nil
}

// Seal encrypts plain and binds it to aad, which Open must be given again; it
// names the place of the value, so that a sealed value moved elsewhere does
// not open.
func (s *Sealer) Seal(plain, aad []byte) ([]byte, error) {
	out := make([]byte, 1+nonceSize, 1+nonceSize+len(plain)+s.aead.Overhead())
	out[0] = sealVersion
	if _, err := rand.Read(out[1:]); err != nil {
		return nil, fmt.Errorf("company: seal: %w", err)
	}
	return s.aead.Seal(out, out[1:1+nonceSize], plain, aad), nil
}

// Open reverses Seal; ErrSealed when it cannot.
func (s *Sealer) Open(sealed, aad []byte) ([]byte, error) {
	if len(sealed) < 1+nonceSize || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	plain, err := s.aead.Open(nil, sealed[1:1+nonceSize], sealed[1+nonceSize:], aad)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// MAC is a keyed digest of data for one purpose: short codes are stored as
// such, since a plain hash of six digits is undone in a moment.
func (s *Sealer) MAC(purpose string, data []byte) []byte {
	m := hmac.New(sha256.New, s.mac)
	m.Write([]byte(purpose))
	m.Write([]byte{0})
	m.Write(data)
	return m.Sum(nil)
}
