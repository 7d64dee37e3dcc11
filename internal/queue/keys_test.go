package queue_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"guanjia/internal/queue"
)

// slot is the slot of a key in a Redis Cluster: CRC16 (XMODEM) of the hash
// tag, modulo 16384.
func slot(key string) uint16 {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}

func TestSlotIsTheClusters(t *testing.T) {
	t.Parallel()
	// From the cluster specification and `CLUSTER KEYSLOT`.
	for key, want := range map[string]uint16{"123456789": 12739, "foo": 12182, "{foo}bar": 12182, "foo{}{bar}": 8363} {
		if got := slot(key); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
}

func TestKeysOfAScriptShareASlot(t *testing.T) {
	t.Parallel()
	q := queue.New(nil, nil, nil, nil, nil, nil)
	for _, company := range []string{"demo", "0197a2b4-0000-7000-8000-000000000001", "odd{id}"} {
		all := q.Keys(company)
		slots := map[uint16]bool{}
		for _, keys := range all {
			for _, k := range keys {
				slots[slot(k)] = true
			}
		}
		if len(slots) != 1 {
			t.Errorf("the keys of company %q are in %d slots", company, len(slots))
		}
	}
}

// A key that a script makes up itself would be unknown to a cluster: every
// script names its keys by KEYS alone, and says in its head which they are.
func TestScriptsTouchOnlyKeysTheyWereGiven(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("lua/*.lua")
	if err != nil || len(files) < 10 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	call := regexp.MustCompile(`redis\.call\('([A-Z]+)',\s*([^,)]+)`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(b), -1) {
			if !strings.HasPrefix(m[2], "KEYS[") {
				t.Errorf("%s: %s is called with the key %s", f, m[1], m[2])
			}
		}
		if filepath.Base(f) == "common.lua" {
			continue
		}
		head, _, _ := strings.Cut(string(b), "\n\n")
		for _, word := range []string{"KEYS", "returns"} {
			if !strings.Contains(string(b), "-- "+word) {
				t.Errorf("%s does not say its %s", f, word)
			}
		}
		if !strings.HasPrefix(head, "-- ") {
			t.Errorf("%s has no head", f)
		}
	}
}
