package wechat

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/conversation"
)

// query is what the platform signs and sends beside the body.
type query struct {
	signature, msgSignature string
	timestamp, nonce        string
	encryptType             string
	openID, echo            string
}

func readQuery(r *http.Request) query {
	v := r.URL.Query()
	return query{
		signature: v.Get("signature"), msgSignature: v.Get("msg_signature"),
		timestamp: v.Get("timestamp"), nonce: v.Get("nonce"),
		encryptType: v.Get("encrypt_type"), openID: v.Get("openid"), echo: v.Get("echostr"),
	}
}

// Bounds of the signed fields; the real ones have ten digits.
const (
	maxTimestamp = 12
	maxNonce     = 64
	maxEcho      = 1024
)

// wellFormed refuses what the platform never sends. A timestamp that isn't
// digits would also let the border between timestamp and nonce move under one
// signature.
func (q query) wellFormed() bool {
	if q.timestamp == "" || len(q.timestamp) > maxTimestamp || q.nonce == "" || len(q.nonce) > maxNonce || len(q.echo) > maxEcho {
		return false
	}
	for _, c := range q.timestamp {
		if c < '0' || c > '9' {
			return false
		}
	}
	return printable(q.nonce)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// fresh tells whether the push was signed within the window around now.
func (q query) fresh(now time.Time, window time.Duration) bool {
	seconds, err := strconv.ParseInt(q.timestamp, 10, 64)
	if err != nil {
		return false
	}
	return now.Sub(time.Unix(seconds, 0)).Abs() <= window
}

// envelope is what a reply to an encrypted push needs.
type envelope struct {
	key   *Key
	nonce string
}

// admit lets in what certainly comes from the platform, and decodes it. The
// configuration of the account decides what is demanded, never the request.
// sealed is nil for a plain push.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, account company.WeChatAccount) (in conversation.Inbound, sealed *envelope, f *refusal) {
	q := readQuery(r)
	if !q.wellFormed() || !SignatureOK(q.signature, account.Token, q.timestamp, q.nonce) {
		return in, nil, refuse(reasonSignature, nil)
	}
	now := h.o.Clock.Now()
	if !q.fresh(now, h.o.Freshness) {
		return in, nil, refuse(reasonStale, nil)
	}
	encrypted := q.encryptType == "aes"
	if mayBePlain := account.Mode == company.ModePlain || account.Mode == company.ModeCompatible; !mayBePlain && !encrypted {
		return in, nil, refuse(reasonPlaintext, nil)
	}
	body, f := readBody(w, r)
	if f != nil {
		return in, nil, f
	}
	message := body
	if encrypted {
		if message, sealed, f = h.open(account, q, body); f != nil {
			return in, nil, f
		}
	}
	in, err := decode(message, account.AppID)
	if err != nil {
		reason := decodeReason(err)
		if !encrypted || reason == reasonDoctype || reason == reasonComplex {
			return in, nil, refuse(reason, err)
		}
		// The cipher vouches that the platform wrote this, whatever it is.
		h.log.WarnContext(r.Context(), "a push could not be decoded and was kept as it is", "account", account.ID, "error", err)
		in = undecoded(message, account.AppID, openIDOr(q.openID), now)
	}
	in.CompanyID, in.AccountID = account.CompanyID, account.ID
	in.NonceKey = account.ID + "|" + q.timestamp + "|" + q.nonce
	in.Hash = hash(message)
	if !h.nonces.admit(in.NonceKey, in.Hash) {
		return in, nil, refuse(reasonReplay, nil)
	}
	return in, sealed, nil
}

// openIDOr keeps the query's openid, which nothing signs, only where it is
// all there is, and only if it looks like one.
func openIDOr(s string) string {
	if len(s) > 64 || !printable(s) {
		return ""
	}
	return s
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close")
		return nil, refuse(reasonSize, nil)
	}
	// A half-open socket must not hold the goroutine; the platform has given
	// up by then anyway.
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(readTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, refuse(reasonBody, err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, refuse(reasonSize, nil)
	case err != nil:
		return nil, refuse(reasonBody, err)
	}
	// The connection may live on for the next push.
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, refuse(reasonBody, err)
	}
	return body, nil
}

// open checks the signature over the ciphertext and opens it. In compatible
// mode the plain fields beside it are ignored: nothing protects them.
func (h *Handler) open(account company.WeChatAccount, q query, body []byte) ([]byte, *envelope, *refusal) {
	outer, err := parse(string(body))
	if err != nil {
		return nil, nil, refuse(decodeReason(err), err)
	}
	cipherText := outer.get("Encrypt")
	if cipherText == "" {
		return nil, nil, refuse(reasonIncomplete, nil)
	}
	if !SignatureOK(q.msgSignature, account.Token, q.timestamp, q.nonce, cipherText) {
		return nil, nil, refuse(reasonSignature, nil)
	}
	if account.AESKey == "" && account.PrevAESKey == "" {
		return nil, nil, refuse(reasonCipher, nil) // a plain account has no key
	}
	ring, err := h.rings.of(account)
	if err != nil {
		return nil, nil, refuse(reasonKeys, err)
	}
	message, key, err := ring.Open(cipherText)
	switch {
	case errors.Is(err, ErrAppID):
		return nil, nil, refuse(reasonAppID, nil)
	case err != nil:
		return nil, nil, refuse(reasonCipher, nil)
	}
	return message, &envelope{key: key, nonce: q.nonce}, nil
}

func decodeReason(err error) string {
	switch {
	case errors.Is(err, ErrDoctype):
		return reasonDoctype
	case errors.Is(err, ErrTooComplex):
		return reasonComplex
	case errors.Is(err, ErrIncomplete):
		return reasonIncomplete
	}
	return reasonXML
}

// keyrings keeps the parsed keys of each account until they change.
type keyrings struct{ byAccount sync.Map }

type keyringEntry struct {
	appID, current, previous string
	ring                     *Keyring
}

func (k *keyrings) of(a company.WeChatAccount) (*Keyring, error) {
	if v, ok := k.byAccount.Load(a.ID); ok {
		e := v.(keyringEntry)
		if e.appID == a.AppID && e.current == a.AESKey && e.previous == a.PrevAESKey {
			return e.ring, nil
		}
	}
	ring, err := NewKeyring(a.AppID, a.AESKey, a.PrevAESKey)
	if err != nil {
		return nil, err
	}
	k.byAccount.Store(a.ID, keyringEntry{a.AppID, a.AESKey, a.PrevAESKey, ring})
	return ring, nil
}
