package wxcrypt

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

const sampleKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

func mustKey(t testing.TB, s string) Key {
	t.Helper()
	k, err := ParseKey(s)
	if err != nil {
		t.Fatalf("parse key: %v", err)
	}
	return k
}

func TestEncryptVectors(t *testing.T) {
	t.Parallel()
	zero := strings.Repeat("A", 43)
	for name, c := range map[string]struct{ key, random, msg, id, want string }{
		"A short": {sampleKey, "aaaabbbbccccdddd", "我是中文abcd123", "wxb11529c136998cb6", vectorAShort},
		"A long":  {sampleKey, "aaaabbbbccccdddd", vectorAMsg, "wxb11529c136998cb6", vectorALong},
		"E reply": {zero, "999951349e8ee746", "<xml><demo_resp>[CDATA[good luck]]</demo_resp></xml>", "wx134c8103faa5a59e", vectorEReply},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := mustKey(t, c.key).EncryptWith([16]byte([]byte(c.random)), []byte(c.msg), c.id)
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestDecryptVectors(t *testing.T) {
	t.Parallel()
	zero := strings.Repeat("A", 43)
	for name, c := range map[string]struct {
		key, token, timestamp, nonce, signature, encrypted, id string
		contains                                               []string
		length                                                 int
	}{
		"B": {"jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "QDG6eK", "1409659589", "263014780", "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3", vectorB, "wx5823bf96d3bd56c7", []string{"1616140317555161061"}, 0},
		"C": {sampleKey, "spamtest", "1409735669", "1320562132", "5d197aaffba7e9b25a30732f161a50dee96bd5fa", vectorC, "wx2c2769f8efd9abc2", []string{"gh_10f6c3c3ac5a", "oyORnuP8q7ou2gfYjqLzSIWZf0rs", "1409735668", "abcdteT", "6054768590064713728", "]></ToUserName>\n<FromUserName>"}, 0},
		"D": {sampleKey, "spamtest", "1410349438", "298025754", "003fee52ecc56afb46c00b5c7721be87860ce785", vectorD, "wx2c2769f8efd9abc2", []string{"abcdteT", "6057404712141979648", "1410349438"}, 0},
		"E": {zero, "AAAAA", "1715943329", "1590219412", "6c12a4205838198b8fa631b3220723bb07f1015c", vectorE, "wx134c8103faa5a59e", []string{"debug_demo", "hello world"}, 292},
		"G": {"kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR", "123456", "1411525903", "461056294", "74d92dfeb87ba7c714f89d98870ae5eb62dff26d", vectorG, "wx49f0ab532d5d035a", []string{"test", "4363689963896700987"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Signature(c.token, c.timestamp, c.nonce, c.encrypted); !Equal(got, c.signature) {
				t.Errorf("signature %s, want %s", got, c.signature)
			}
			msg, id, err := mustKey(t, c.key).Decrypt(c.encrypted)
			if err != nil {
				t.Fatalf("decrypt: %v", err)
			}
			if id != c.id {
				t.Errorf("id %q, want %q", id, c.id)
			}
			for _, s := range c.contains {
				if !strings.Contains(string(msg), s) {
					t.Errorf("%q is not in %q", s, msg)
				}
			}
			if c.length > 0 && len(msg) != c.length {
				t.Errorf("%d bytes, want %d", len(msg), c.length)
			}
		})
	}
}

func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ token, timestamp, nonce, want string }{
		{"pamtest", "1409304348", "xxxxxx", "76480565cbe296026c53aaacd1ad523a1ddba24f"},
		{"AAAAA", "1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78"},
		{"AAAAA", "1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"},
		{"weixin", "1414243737", "1792106704", "35703636de2f9df2a77a662b68e521ce17c34db4"},
	} {
		if got := Signature(c.token, c.timestamp, c.nonce); got != c.want {
			t.Errorf("%s/%s: %s, want %s", c.token, c.nonce, got, c.want)
		}
	}
	if got := Signature("AAAAA", "1713424427", "415670741", vectorEReply); got != "03e0812039325c2712ef5f0f980fd14c70d6e307" {
		t.Errorf("reply of E: %s", got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	k := mustKey(t, sampleKey)
	good, err := k.Encrypt([]byte("hello"), "wx1")
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(good)
	other := mustKey(t, strings.Repeat("A", 43))
	for name, c := range map[string]struct {
		key       Key
		encrypted string
	}{
		"not base64":    {k, "***"},
		"empty":         {k, ""},
		"truncated":     {k, base64.StdEncoding.EncodeToString(raw[:len(raw)-16])},
		"cut to 3 left": {k, good[:len(good)-3]},
		"wrong key":     {other, vectorD},
	} {
		if _, _, err := c.key.Decrypt(c.encrypted); !errors.Is(err, ErrBad) {
			t.Errorf("%s: %v, want ErrBad", name, err)
		}
	}
	for _, s := range []string{sampleKey[:42], sampleKey + "A", strings.Repeat("*", 43), ""} {
		if _, err := ParseKey(s); err == nil {
			t.Errorf("key of %d characters taken", len(s))
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	k := mustKey(f, sampleKey)
	for _, s := range []string{vectorAShort, vectorC, vectorD, "", "AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		msg, id, err := k.Decrypt(s)
		if err != nil {
			return
		}
		again, err := k.Encrypt(msg, id)
		if err != nil {
			t.Fatalf("encrypt what was decrypted: %v", err)
		}
		msg2, id2, err := k.Decrypt(again)
		if err != nil || string(msg2) != string(msg) || id2 != id {
			t.Fatalf("round trip: %v", err)
		}
	})
}
