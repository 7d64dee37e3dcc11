package wechat

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// The vendors' own vectors, each re-computed: official samples in Java (A), for
// the WeCom address check (B), in Python (C), in C++ (D), of the push page (E,
// F), and of another SDK's tests (G).

const commonKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

func mustKey(t testing.TB, encoded string) *Key {
	t.Helper()
	k, err := ParseKey(encoded)
	if err != nil {
		t.Fatalf("ParseKey: %v", err)
	}
	return k
}

func fixedRandom(t testing.TB, s string) [randomLen]byte {
	t.Helper()
	if len(s) != randomLen {
		t.Fatalf("random of %d bytes", len(s))
	}
	return [randomLen]byte([]byte(s))
}

func TestVectorsSeal(t *testing.T) {
	t.Parallel()
	const demoReply = `<xml><demo_resp>[CDATA[good luck]]</demo_resp></xml>`
	const video = `<xml><ToUserName><![CDATA[oia2Tj我是中文jewbmiOUlr6X-1crbLOvLw]]></ToUserName><FromUserName><![CDATA[gh_7f083739789a]]></FromUserName><CreateTime>1407743423</CreateTime><MsgType><![CDATA[video]]></MsgType><Video><MediaId><![CDATA[eYJ1MbwPRJtOvIEabaxHs7TX2D-HV71s79GUxqdUkjm6Gs2Ed1KF3ulAOA9H1xG0]]></MediaId><Title><![CDATA[testCallBackReplyVideo]]></Title><Description><![CDATA[testCallBackReplyVideo]]></Description></Video></xml>`
	tests := []struct {
		name, key, random, appID, message, want string
	}{
		{
			"A short", commonKey, "aaaabbbbccccdddd", "wxb11529c136998cb6", "我是中文abcd123",
			"jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg==",
		},
		{
			"A long", commonKey, "aaaabbbbccccdddd", "wxb11529c136998cb6", video,
			"jn1L23DB+6ELqJ+6bruv23M2GmYfkv0xBh2h+XTBOKVKcgDFHle6gqcZ1cZrk3e1qjPQ1F4RsLWzQRG9udbKWesxlkupqcEcW7ZQweImX9+wLMa0GaUzpkycA8+IamDBxn5loLgZpnS7fVAbExOkK5DYHBmv5tptA9tklE/fTIILHR8HLXa5nQvFb3tYPKAlHF3rtTeayNf0QuM+UW/wM9enGIDIJHF7CLHiDNAYxr+r+OrJCmPQyTy8cVWlu9iSvOHPT/77bZqJucQHQ04sq7KZI27OcqpQNSto2OdHCoTccjggX5Z9Mma0nMJBU+jLKJ38YB1fBIz+vBzsYjrTmFQ44YfeEuZ+xRTQwr92vhA9OxchWVINGC50qE/6lmkwWTwGX9wtQpsJKhP+oS7rvTY8+VdzETdfakjkwQ5/Xka042OlUb1/slTwo4RscuQ+RdxSGvDahxAJ6+EAjLt9d8igHngxIbf6YyqqROxuxqIeIch3CssH/LqRs+iAcILvApYZckqmA7FNERspKA5f8GoJ9sv8xmGvZ9Yrf57cExWtnX8aCMMaBropU/1k+hKP5LVdzbWCG0hGwx/dQudYR/eXp3P0XxjlFiy+9DMlaFExWUZQDajPkdPrEeOwofJb",
		},
		{
			"E reply", strings.Repeat("A", 43), "999951349e8ee746", "wx134c8103faa5a59e", demoReply,
			"hE8R6mGXHkJJjU72KxzKUd1GEkKJaEZq7vRL8XgK3o+00k8JGq6+pZJUIlTSyhsX+bxIBQ72g3GyvDdIZcr6+3HAZbSvPT9t/o11MI7d6WELwqrGd7jMnV0zv3Zc9Nq7",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := mustKey(t, tt.key).seal(fixedRandom(t, tt.random), []byte(tt.message), tt.appID)
			if got != tt.want {
				t.Errorf("got %s", got)
			}
			ring, err := NewKeyring(tt.appID, tt.key, "")
			if err != nil {
				t.Fatal(err)
			}
			back, _, err := ring.Open(got)
			if err != nil || string(back) != tt.message {
				t.Errorf("opened to %q, %v", back, err)
			}
		})
	}
}

// vectorsOpen are requests with their message signatures.
var vectorsOpen = []struct {
	name, token, key, appID, timestamp, nonce, signature, cipherText string
}{
	{
		"B", "QDG6eK", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "wx5823bf96d3bd56c7", "1409659589", "263014780",
		"5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
		"P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==",
	},
	{
		"C", "spamtest", commonKey, "wx2c2769f8efd9abc2", "1409735669", "1320562132",
		"5d197aaffba7e9b25a30732f161a50dee96bd5fa", vectorC,
	},
	{
		"D", "spamtest", commonKey, "wx2c2769f8efd9abc2", "1410349438", "298025754",
		"003fee52ecc56afb46c00b5c7721be87860ce785",
		"mfBCs65c67CeJw22u4VT2TD73q5H06+ocrAIxswCaeZ/d/Lw0msSZFHY0teqgSYiI1zR2gD2DKrB3TIrmX/liNSDrGqS8jSI/WPeKB5VPr7Ezr7gomZAyGCwJSgT1TRFWPfONGJMxuj2nk4faTuspAuVIFQ6SHwZuJBZC7mcJp7Cgr9cUhATQWDbOPaE7ukZBTV2YqyzH+UI2AK+J1S47cE79k1RX8t0hcTz/O0hlK8DGXKnvYv88qKQcI7z4iaajqHfRVZKBNyOODabs+It+ZfM3dWTeFcPgDbGtIEnpt/EDtuuA/zMvtkaKdHdswPnVZQ+xdwbYr3ldGvfT8HlEYEgkgKaThxTFobVlwzu2ZkXCjicbP3xdr15Iq48ObgzPpqYuZ3IEoyggZDKClquk0u0orMck4GTF/XyE8yGzc4=",
	},
	{
		"E", "AAAAA", strings.Repeat("A", 43), "wx134c8103faa5a59e", "1715943329", "1590219412",
		"6c12a4205838198b8fa631b3220723bb07f1015c",
		"D7yzvUNAL930rd28wf21s4hvXhz0L6Uit/p2Di6C5DHyYGpEgdBRnKjBec34JwoQXicwaZC7fOVihW80F4VtsdvE//1vr7oAbqjDv8KenVp+ajKYpJnyQ4zMRhIC+a31fCVOMC03FfzV/QuC94kBP55a+Za3sJgvAn+ZbsNqZI5DkyuzkhQN8OBqCzFhizGmy0xpM0MEA4agpvE+RuNO1rhHTtuJB5yltw1FiYzecSXJ+y/D2r81VkRn2eYjh2ltsoyfbDR7Is6ookXIFxTfyeNyeHxMeT4KN5WpCDmSbTcUYrbBUlkGLJ9n/rU8YOywma6G7aTb7KZKOqCxgfoUlYEZPk4FUL/TK7ShriFDMVCLyjQJ15Ob++agDWtcxhfUfe6HIoIpRW8mKNBQiY/Jd1svvuskA1wLef1RTtzKfMpagSCX/laZINmdnX4zrF6kIaR9P4xQrWXbsTFHTYe0Mg==",
	},
	{
		"G", "123456", "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR", "wx49f0ab532d5d035a", "1411525903", "461056294",
		"74d92dfeb87ba7c714f89d98870ae5eb62dff26d",
		"RgqEoJj5A4EMYlLvWO1F86ioRjZfaex/gePD0gOXTxpsq5Yj4GNglrBb8I2BAJVODGajiFnXBu7mCPatfjsu6IHCrsTyeDXzF6Bv283dGymzxh6ydJRvZsryDyZbLTE7rhnus50qGPMfp2wASFlzEgMW9z1ef/RD8XzaFYgm7iTdaXpXaG4+BiYyolBug/gYNx410cvkKR2/nPwBiT+P4hIiOAQqGp/TywZBtDh1yCF2KOd0gpiMZ5jSw3e29mTvmUHzkVQiMS6td7vXUaWOMZnYZlF3So2SjHnwh4jYFxdgpkHHqIrH/54SNdshoQgWYEvccTKe7FS709/5t6NMxuGhcUGAPOQipvWTT4dShyqio7mlsl5noTrb++x6En749zCpQVhDpbV6GDnTbcX2e8K9QaNWHp91eBdCRxthuL0=",
	},
}

const vectorC = "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE="

func TestVectorsOpen(t *testing.T) {
	t.Parallel()
	check := map[string]func(t *testing.T, message []byte){
		"B": func(t *testing.T, message []byte) {
			if string(message) != "1616140317555161061" {
				t.Errorf("echostr %q", message)
			}
		},
		"C": func(t *testing.T, message []byte) {
			in, err := decode(message, "wx2c2769f8efd9abc2")
			if err != nil {
				t.Fatal(err)
			}
			if in.Detail.ToUserName != "gh_10f6c3c3ac5a" || in.OpenID != "oyORnuP8q7ou2gfYjqLzSIWZf0rs" ||
				in.SentAt.Unix() != 1409735668 || in.Type != "text" || in.Text != "abcdteT" || in.MsgID != "6054768590064713728" {
				t.Errorf("decoded %+v", in)
			}
			if !bytes.Contains(message, []byte("]]></ToUserName>\n")) {
				t.Error("the newlines of a real push are gone")
			}
		},
		"D": func(t *testing.T, message []byte) {
			in, err := decode(message, "wx2c2769f8efd9abc2")
			if err != nil || in.Text != "abcdteT" || in.MsgID != "6057404712141979648" || in.SentAt.Unix() != 1410349438 {
				t.Errorf("decoded %+v, %v", in, err)
			}
		},
		"E": func(t *testing.T, message []byte) {
			x, err := parse(string(message))
			if len(message) != 292 || err != nil || x.get("Event") != "debug_demo" || x.get("debug_str") != "hello world" {
				t.Errorf("%d bytes, %v", len(message), err)
			}
		},
		"G": func(t *testing.T, message []byte) {
			in, err := decode(message, "wx49f0ab532d5d035a")
			if err != nil || in.Text != "test" || in.MsgID != "4363689963896700987" {
				t.Errorf("decoded %+v, %v", in, err)
			}
		},
	}
	for _, v := range vectorsOpen {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			if !SignatureOK(v.signature, v.token, v.timestamp, v.nonce, v.cipherText) {
				t.Error("signature is refused")
			}
			if SignatureOK(v.signature, v.token, v.timestamp, v.nonce, v.cipherText[1:]) {
				t.Error("signature holds for another ciphertext")
			}
			ring, err := NewKeyring(v.appID, v.key, "")
			if err != nil {
				t.Fatal(err)
			}
			message, _, err := ring.Open(v.cipherText)
			if err != nil {
				t.Fatal(err)
			}
			check[v.name](t, message)
		})
	}
}

func TestVectorsSignature(t *testing.T) {
	t.Parallel()
	tests := []struct{ token, timestamp, nonce, want string }{
		{"pamtest", "1409304348", "xxxxxx", "76480565cbe296026c53aaacd1ad523a1ddba24f"},
		{"AAAAA", "1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78"},
		{"AAAAA", "1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"},
		{"weixin", "1414243737", "1792106704", "35703636de2f9df2a77a662b68e521ce17c34db4"},
	}
	for _, tt := range tests {
		if !SignatureOK(tt.want, tt.token, tt.timestamp, tt.nonce) {
			t.Errorf("token %s at %s: want %s, got %s", tt.token, tt.timestamp, tt.want, Sign(tt.token, tt.timestamp, tt.nonce))
		}
		for _, wrong := range []string{"", strings.ToUpper(tt.want), tt.want[:39], tt.want + "0"} {
			if SignatureOK(wrong, tt.token, tt.timestamp, tt.nonce) {
				t.Errorf("signature %q is accepted", wrong)
			}
		}
	}
	if got := Sign("AAAAA", "1713424427", "415670741", "hE8R6mGXHkJJjU72KxzKUd1GEkKJaEZq7vRL8XgK3o+00k8JGq6+pZJUIlTSyhsX+bxIBQ72g3GyvDdIZcr6+3HAZbSvPT9t/o11MI7d6WELwqrGd7jMnV0zv3Zc9Nq7"); got != "03e0812039325c2712ef5f0f980fd14c70d6e307" {
		t.Errorf("signature of the reply in vector E: %s", got)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, k := range []string{"", commonKey[:42], commonKey + "H", strings.Repeat("*", 43)} {
		if _, err := ParseKey(k); !errors.Is(err, ErrKey) {
			t.Errorf("key of %d characters: %v", len(k), err)
		}
	}
	if _, err := NewKeyring("wx", "", ""); !errors.Is(err, ErrKey) {
		t.Errorf("no key at all: %v", err)
	}
}

// encryptRaw encrypts a plaintext as it is, with whatever is wrong about it.
func encryptRaw(t testing.TB, k *Key, plain []byte) string {
	t.Helper()
	if len(plain)%aes.BlockSize != 0 {
		t.Fatalf("plaintext of %d bytes", len(plain))
	}
	out := make([]byte, len(plain))
	cipher.NewCBCEncrypter(k.block, k.iv[:]).CryptBlocks(out, plain)
	return base64.StdEncoding.EncodeToString(out)
}

func envelopeBytes(size uint32, message, appID string) []byte {
	plain := bytes.Repeat([]byte{'r'}, randomLen)
	plain = binary.BigEndian.AppendUint32(plain, size)
	return append(append(plain, message...), appID...)
}

func padTo32(plain []byte, pad func(n int) []byte) []byte {
	n := padBlock - len(plain)%padBlock
	return append(plain, pad(n)...)
}

func goodPad(n int) []byte { return bytes.Repeat([]byte{byte(n)}, n) }

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	const appID = "wx2c2769f8efd9abc2"
	k := mustKey(t, commonKey)
	good := k.seal(fixedRandom(t, "aaaabbbbccccdddd"), []byte("<xml></xml>"), appID)
	raw, err := base64.StdEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	const message = "hello"
	lastByte := func(b byte) func(n int) []byte {
		return func(n int) []byte { return append(bytes.Repeat([]byte{byte(n)}, n-1), b) }
	}
	firstByteWrong := func(n int) []byte {
		p := goodPad(n)
		p[0]++
		return p
	}
	tests := []struct {
		name, cipherText string
		want             error
	}{
		{"empty", "", ErrCiphertext},
		{"not base64", "!!!!" + good, ErrCiphertext},
		{"cut to a multiple of 16 only", base64.StdEncoding.EncodeToString(raw[:len(raw)-16]), ErrCiphertext},
		{"cut inside a block", base64.StdEncoding.EncodeToString(raw[:len(raw)-5]), ErrCiphertext},
		{"cut by a block of 32", base64.StdEncoding.EncodeToString(raw[:len(raw)-32]), ErrCiphertext},
		{"cut base64", good[:len(good)-3], ErrCiphertext},
		{"pad byte 0", encryptRaw(t, k, padTo32(envelopeBytes(5, message, appID), lastByte(0))), ErrCiphertext},
		{"pad byte 33", encryptRaw(t, k, padTo32(envelopeBytes(5, message, appID), lastByte(33))), ErrCiphertext},
		{"pad byte 255", encryptRaw(t, k, padTo32(envelopeBytes(5, message, appID), lastByte(255))), ErrCiphertext},
		{"padding not uniform", encryptRaw(t, k, padTo32(envelopeBytes(5, message, appID), firstByteWrong)), ErrCiphertext},
		{"only padding", encryptRaw(t, k, bytes.Repeat([]byte{32}, 32)), ErrCiphertext},
		{"shorter than its head", encryptRaw(t, k, padTo32([]byte("0123456789"), goodPad)), ErrCiphertext},
		{"length beyond the buffer", encryptRaw(t, k, padTo32(envelopeBytes(500, message, appID), goodPad)), ErrCiphertext},
		{"length of 2^31", encryptRaw(t, k, padTo32(envelopeBytes(1<<31, message, appID), goodPad)), ErrCiphertext},
		{"length of 2^32-1", encryptRaw(t, k, padTo32(envelopeBytes(1<<32-1, message, appID), goodPad)), ErrCiphertext},
		{"length takes the app id too", encryptRaw(t, k, padTo32(envelopeBytes(uint32(len(message+appID)), message, appID), goodPad)), ErrAppID},
		{"foreign app id", k.seal(fixedRandom(t, "aaaabbbbccccdddd"), []byte(message), "wxb11529c136998cb6"), ErrAppID},
		{"app id with a tail", k.seal(fixedRandom(t, "aaaabbbbccccdddd"), []byte(message), appID+"x"), ErrAppID},
		{"wrong key", mustKey(t, strings.Repeat("B", 43)).seal(fixedRandom(t, "aaaabbbbccccdddd"), []byte(message), appID), ErrCiphertext},
	}
	ring, err := NewKeyring(appID, commonKey, strings.Repeat("A", 43))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := ring.Open(tt.cipherText)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %q, %v; want %v", got, err, tt.want)
			}
			if got != nil {
				t.Error("a refused ciphertext yields bytes")
			}
		})
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	const appID = "wx2c2769f8efd9abc2"
	older := strings.Repeat("A", 43)
	ring, err := NewKeyring(appID, commonKey, older)
	if err != nil {
		t.Fatal(err)
	}
	for _, encoded := range []string{commonKey, older} {
		sealed, err := mustKey(t, encoded).Seal([]byte("words"), appID)
		if err != nil {
			t.Fatal(err)
		}
		message, used, err := ring.Open(sealed)
		if err != nil || string(message) != "words" {
			t.Fatalf("opened to %q, %v", message, err)
		}
		// The reply must be sealed by the key the push came with.
		reply := used.seal(fixedRandom(t, "aaaabbbbccccdddd"), []byte("reply"), appID)
		if want := mustKey(t, encoded).seal(fixedRandom(t, "aaaabbbbccccdddd"), []byte("reply"), appID); reply != want {
			t.Error("the reply is sealed by the other key")
		}
	}
}

func TestSealRoundTripAllLengths(t *testing.T) {
	t.Parallel()
	const appID = "wx2c2769f8efd9abc2"
	k := mustKey(t, commonKey)
	ring, err := NewKeyring(appID, commonKey, "")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 130 {
		message := bytes.Repeat([]byte{'x'}, n)
		sealed, err := k.Seal(message, appID)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(sealed)
		if err != nil || len(raw)%padBlock != 0 {
			t.Fatalf("length %d: %d bytes, %v", n, len(raw), err)
		}
		got, _, err := ring.Open(sealed)
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("length %d: %q, %v", n, got, err)
		}
	}
}

func FuzzKeyringOpen(f *testing.F) {
	for _, v := range vectorsOpen {
		f.Add(v.cipherText)
	}
	f.Add("")
	f.Add("AAAA")
	ring, err := NewKeyring("wx2c2769f8efd9abc2", commonKey, strings.Repeat("A", 43))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, cipherText string) {
		message, key, err := ring.Open(cipherText)
		if err != nil {
			if message != nil || key != nil {
				t.Error("an error with a result")
			}
			return
		}
		again, err := key.Seal(message, ring.appID)
		if err != nil {
			t.Fatal(err)
		}
		if back, _, err := ring.Open(again); err != nil || !bytes.Equal(back, message) {
			t.Errorf("sealed again it opens to %q, %v", back, err)
		}
	})
}
