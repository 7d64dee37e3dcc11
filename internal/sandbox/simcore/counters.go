package simcore

import (
	"hash/maphash"
	"sort"
	"strings"
	"sync"
)

// Counters is what the vendors accepted, for tests of "once": they survive
// the product's death because they live in another process. Safe for
// concurrent use.
type Counters struct {
	mu        sync.Mutex
	seed      maphash.Seed
	calls     map[[2]string]int64
	addresses map[[2]string]int64
	outIDs    *repeats
	contents  *repeats
}

// repeats keeps 12 bytes for what came once and the words only of what came
// again, so that a million sends stay small.
type repeats struct {
	once  map[uint64]struct{}
	again map[string]int64
}

func (r *repeats) add(h uint64, key string) {
	if n, ok := r.again[key]; ok {
		r.again[key] = n + 1
		return
	}
	if _, ok := r.once[h]; ok {
		r.again[key] = 2
		return
	}
	r.once[h] = struct{}{}
}

func newRepeats() *repeats {
	return &repeats{once: map[uint64]struct{}{}, again: map[string]int64{}}
}

// NewCounters starts at zero.
func NewCounters() *Counters {
	c := &Counters{seed: maphash.MakeSeed()}
	c.Reset()
	return c
}

// Reset puts everything to zero.
func (c *Counters) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = map[[2]string]int64{}
	c.addresses = map[[2]string]int64{}
	c.outIDs = newRepeats()
	c.contents = newRepeats()
}

// Call counts one call of a vendor (or one push by it): target as in
// PUT /sim/faults, outcome "ok", the vendor's code, or the fault's kind.
func (c *Counters) Call(target, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[[2]string{target, outcome}]++
}

// Address counts one accepted submission to an address of a channel
// (service, template, subscribe, passive, sms, group, webhook, app).
func (c *Counters) Address(channel, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addresses[[2]string{channel, address}]++
}

// OutID counts one accepted submission with a caller's identifier.
func (c *Counters) OutID(id string) {
	if id == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outIDs.add(maphash.String(c.seed, id), id)
}

// Content counts one accepted text, by hex sha256, at an address.
func (c *Counters) Content(address, sha256 string) {
	key := address + "\x00" + sha256
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contents.add(maphash.String(c.seed, key), key)
}

// Report is the answer of GET /sim/counters.
type Report struct {
	Calls      []CallCount    `json:"calls"`
	Addresses  []AddressCount `json:"addresses"`
	Duplicates Duplicates     `json:"duplicates"`
}

// CallCount is n calls of a target with one outcome.
type CallCount struct {
	Target  string `json:"target"`
	Outcome string `json:"outcome"`
	N       int64  `json:"n"`
}

// AddressCount is n accepted submissions to one address.
type AddressCount struct {
	Channel string `json:"channel"`
	Address string `json:"address"`
	N       int64  `json:"n"`
}

// Duplicates lists only what was accepted more than once.
type Duplicates struct {
	OutID   []OutIDCount   `json:"out_id"`
	Content []ContentCount `json:"content"`
}

// OutIDCount is an identifier accepted n times.
type OutIDCount struct {
	OutID string `json:"out_id"`
	N     int64  `json:"n"`
}

// ContentCount is a text accepted n times at one address.
type ContentCount struct {
	Address string `json:"address"`
	SHA256  string `json:"sha256"`
	N       int64  `json:"n"`
}

// Report reads the counters, sorted.
func (c *Counters) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Report{
		Calls: []CallCount{}, Addresses: []AddressCount{},
		Duplicates: Duplicates{OutID: []OutIDCount{}, Content: []ContentCount{}},
	}
	for k, n := range c.calls {
		r.Calls = append(r.Calls, CallCount{k[0], k[1], n})
	}
	for k, n := range c.addresses {
		r.Addresses = append(r.Addresses, AddressCount{k[0], k[1], n})
	}
	for k, n := range c.outIDs.again {
		r.Duplicates.OutID = append(r.Duplicates.OutID, OutIDCount{k, n})
	}
	for k, n := range c.contents.again {
		address, sum, _ := strings.Cut(k, "\x00")
		r.Duplicates.Content = append(r.Duplicates.Content, ContentCount{address, sum, n})
	}
	sort.Slice(r.Calls, func(i, j int) bool {
		a, b := r.Calls[i], r.Calls[j]
		return a.Target < b.Target || a.Target == b.Target && a.Outcome < b.Outcome
	})
	sort.Slice(r.Addresses, func(i, j int) bool {
		a, b := r.Addresses[i], r.Addresses[j]
		return a.Channel < b.Channel || a.Channel == b.Channel && a.Address < b.Address
	})
	sort.Slice(r.Duplicates.OutID, func(i, j int) bool { return r.Duplicates.OutID[i].OutID < r.Duplicates.OutID[j].OutID })
	sort.Slice(r.Duplicates.Content, func(i, j int) bool {
		a, b := r.Duplicates.Content[i], r.Duplicates.Content[j]
		return a.Address < b.Address || a.Address == b.Address && a.SHA256 < b.SHA256
	})
	return r
}
