package survey

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"guanjia/internal/ledger"
)

// A link leads one invited person to his page, until a moment, and to nothing
// else: invitation, moment and a keyed digest of both under a purpose of its
// own. It is made when the message is sent and stored nowhere.

const (
	linkPurpose = "survey.link"
	linkMAC     = 16 // bytes of the digest that a link carries
	// PagePath is where the pages of links are.
	PagePath = "/h5/s/"
	// maxToken bounds what is looked at.
	maxToken = 128
)

var errNoLink = errors.New("survey: no link can be made")

// token makes the token of an invitation. Its id is hexadecimal.
func (s *Surveys) token(invitationID string, expires time.Time) (string, error) {
	id, err := hex.DecodeString(invitationID)
	if err != nil || len(id) < 16 || len(id) > 24 {
		return "", errNoLink
	}
	body := binary.BigEndian.AppendUint64(nil, uint64(max(expires.Unix(), 0)))[3:] // 40 bits are enough
	body = append(body, id...)
	body = append(body, s.Sealer.MAC(linkPurpose, body)[:linkMAC]...)
	return base64.RawURLEncoding.EncodeToString(body), nil
}

// readToken checks a token and gives its invitation. ok is false for what is cut
// off, guessed or made for another purpose; over tells that its time has passed.
func (s *Surveys) readToken(token string) (invitationID string, over, ok bool) {
	if len(token) > maxToken {
		return "", false, false
	}
	// Strict: no two tokens are one link.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < 5+16+linkMAC || len(raw) > 5+24+linkMAC {
		return "", false, false
	}
	body, mac := raw[:len(raw)-linkMAC], raw[len(raw)-linkMAC:]
	if !hmac.Equal(mac, s.Sealer.MAC(linkPurpose, body)[:linkMAC]) {
		return "", false, false
	}
	expires := int64(binary.BigEndian.Uint64(append([]byte{0, 0, 0}, body[:5]...)))
	return hex.EncodeToString(body[5:]), !s.now().Before(time.Unix(expires, 0)), true
}

// linkPayload is what a template message carries so that its link can be made
// when it is sent. ID is the invitation's; empty: it is the rest of the
// delivery's id.
type linkPayload struct {
	ID      string `json:"id,omitempty"`
	Expires int64  `json:"expires"` // Unix seconds
}

// Link makes the address that a template message of a survey opens
// (notify/official asks for it when it sends).
func (s *Surveys) Link(d ledger.Delivery, payload json.RawMessage) (string, error) {
	var p linkPayload
	if err := json.Unmarshal(payload, &p); err != nil || p.Expires == 0 || s.PublicURL == "" {
		return "", errNoLink
	}
	if p.ID == "" && len(d.RootID) > 1 {
		p.ID = d.RootID[1:]
	}
	return s.link(p.ID, time.Unix(p.Expires, 0))
}

func (s *Surveys) link(invitationID string, expires time.Time) (string, error) {
	t, err := s.token(invitationID, expires)
	if err != nil {
		return "", fmt.Errorf("survey: make a link: %w", err)
	}
	return s.PublicURL + PagePath + t, nil
}
