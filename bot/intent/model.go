package intent

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// weightsVersion changes with the layout of the file or the meaning of a
// feature, so that weights of another program are refused instead of misread.
const weightsVersion = 1

// weightsMagic is the first word of a weights file.
const weightsMagic = "guanjia-intent-weights"

// Heads of the model.
const (
	HeadIntent    = "intent"
	HeadCategory  = "category"
	HeadTopic     = "topic"
	HeadEmergency = "emergency"
)

// None is the class of the topic and the category head for "none fits".
const None = "-"

// InDanger is the class of the intent head for emergencies: their words are not
// those of other calls for help. It is never an answer.
const InDanger = "danger"

// HeadWeights is one trained head before it is written to a file.
type HeadWeights struct {
	// Name is one of the Head… constants.
	Name string
	// Classes in the order of the columns of W.
	Classes []string
	// Bias of each class.
	Bias []float64
	// W holds one row a feature and one column a class.
	W []float64
	// Temperature divides the scores before they become probabilities.
	Temperature float64
}

// ModelInfo says where weights come from.
type ModelInfo struct {
	// Inputs is the digest of the examples and the lexicon that were trained on.
	Inputs string `json:"inputs"`
	// Examples is the number of messages that were trained on.
	Examples int `json:"examples"`
}

type headInfo struct {
	Name        string    `json:"name"`
	Classes     []string  `json:"classes"`
	Bias        []float64 `json:"bias"`
	Scale       float64   `json:"scale"` // what one step of a stored weight is worth
	Temperature float64   `json:"temperature"`
}

type modelInfo struct {
	ModelInfo
	Features int        `json:"features"`
	Heads    []headInfo `json:"heads"`
}

// model is linear: each head sums the weights of the features that a message has.
// Weights are kept in eight bits.
type model struct {
	info   modelInfo
	width  int      // columns of all heads together
	table  []uint32 // open addressing: feature key, 0 is empty
	rows   []int32  // row of the key at the same place of table
	mask   uint32
	w      []int8
	places map[string]int // first column of a head
}

// PackWeights writes a weights file. keys are the features, ascending, one a row
// of each head. The bytes depend on nothing but the arguments.
func PackWeights(about ModelInfo, keys []uint32, heads []HeadWeights) ([]byte, error) {
	info := modelInfo{ModelInfo: about, Features: len(keys)}
	quantised := make([][]int8, len(heads))
	for h, head := range heads {
		n := len(head.Classes)
		if len(head.W) != n*len(keys) || len(head.Bias) != n {
			return nil, fmt.Errorf("head %s: %d weights and %d biases for %d features of %d classes", head.Name, len(head.W), len(head.Bias), len(keys), n)
		}
		largest := 0.0
		for _, v := range head.W {
			largest = math.Max(largest, math.Abs(v))
		}
		// Float rounding of the last bits must not show in the file.
		scale := math.Ceil(largest/127*1e6) / 1e6
		if scale == 0 {
			scale = 1e-6
		}
		q := make([]int8, len(head.W))
		for i, v := range head.W {
			q[i] = int8(math.RoundToEven(v / scale))
		}
		quantised[h] = q
		bias := make([]float64, n)
		for i, b := range head.Bias {
			bias[i] = math.Round(b*1e4) / 1e4
		}
		info.Heads = append(info.Heads, headInfo{Name: head.Name, Classes: head.Classes, Bias: bias, Scale: scale, Temperature: head.Temperature})
	}
	head, err := json.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("describe the weights: %w", err)
	}
	var body bytes.Buffer
	body.Write(head)
	body.WriteByte('\n')
	var last uint32
	for i, k := range keys {
		if i > 0 && k <= last {
			return nil, errors.New("the features are not in ascending order")
		}
		body.Write(binary.AppendUvarint(nil, uint64(k-last)))
		last = k
		for h := range heads {
			n := len(heads[h].Classes)
			packRow(&body, quantised[h][i*n:(i+1)*n])
		}
	}
	sum := sha256.Sum256(body.Bytes())
	return append(fmt.Appendf(nil, "%s %d %s\n", weightsMagic, weightsVersion, hex.EncodeToString(sum[:])), body.Bytes()...), nil
}

// packRow writes which columns are not zero, then these.
func packRow(b *bytes.Buffer, row []int8) {
	for at := 0; at < len(row); at += 8 {
		var bits byte
		for i := at; i < min(at+8, len(row)); i++ {
			if row[i] != 0 {
				bits |= 1 << (i - at)
			}
		}
		b.WriteByte(bits)
	}
	for _, v := range row {
		if v != 0 {
			b.WriteByte(byte(v))
		}
	}
}

// readModel checks and unpacks a weights file.
func readModel(raw []byte) (*model, error) {
	line, body, ok := bytes.Cut(raw, []byte("\n"))
	word := strings.Fields(string(line[:min(len(line), 200)]))
	if !ok || len(word) != 3 || word[0] != weightsMagic {
		return nil, errors.New("line 1: this is no weights file")
	}
	if word[1] != fmt.Sprint(weightsVersion) {
		return nil, fmt.Errorf("line 1: weights of version %.20s, this program reads version %d; train again", word[1], weightsVersion)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != word[2] {
		return nil, errors.New("line 1: the checksum does not fit the weights; the file is damaged, train again")
	}
	head, body, ok := bytes.Cut(body, []byte("\n"))
	if !ok {
		return nil, errors.New("line 2: the description of the weights is missing")
	}
	m := &model{places: map[string]int{}}
	if err := json.Unmarshal(head, &m.info); err != nil {
		return nil, fmt.Errorf("line 2: the description of the weights: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("line 2: %w", err)
	}
	if err := m.unpack(body); err != nil {
		return nil, fmt.Errorf("line 3: %w", err)
	}
	return m, nil
}

// maxFeatures bounds what a weights file may ask for.
const maxFeatures = 1 << 20

func (m *model) check() error {
	if m.info.Features < 0 || m.info.Features > maxFeatures {
		return fmt.Errorf("%d features", m.info.Features)
	}
	for _, h := range m.info.Heads {
		if len(h.Classes) < 2 || len(h.Bias) != len(h.Classes) || len(h.Classes) > 200 {
			return fmt.Errorf("head %q has %d classes and %d biases", h.Name, len(h.Classes), len(h.Bias))
		}
		if !(h.Scale > 0) || !(h.Temperature > 0) {
			return fmt.Errorf("head %q has scale %v and temperature %v", h.Name, h.Scale, h.Temperature)
		}
		m.places[h.Name] = m.width
		m.width += len(h.Classes)
	}
	for _, name := range []string{HeadIntent, HeadCategory, HeadTopic, HeadEmergency} {
		if _, ok := m.places[name]; !ok {
			return fmt.Errorf("head %q is missing", name)
		}
	}
	return nil
}

func (m *model) unpack(body []byte) error {
	size := uint32(64)
	for int(size) < m.info.Features*2 {
		size *= 2
	}
	m.mask = size - 1
	m.table, m.rows = make([]uint32, size), make([]int32, size)
	m.w = make([]int8, m.info.Features*m.width)
	var key uint32
	for i := range m.info.Features {
		d, n := binary.Uvarint(body)
		if n <= 0 || d == 0 || d > math.MaxUint32-uint64(key) {
			return fmt.Errorf("feature %d of %d cannot be read", i+1, m.info.Features)
		}
		body = body[n:]
		key += uint32(d)
		m.enter(key, int32(i))
		row := m.w[i*m.width : (i+1)*m.width]
		for _, h := range m.info.Heads {
			rest, ok := unpackRow(body, row[:len(h.Classes)])
			if !ok {
				return fmt.Errorf("the weights of feature %d of %d are cut off", i+1, m.info.Features)
			}
			body, row = rest, row[len(h.Classes):]
		}
	}
	if len(body) != 0 {
		return fmt.Errorf("%d bytes too many", len(body))
	}
	return nil
}

func unpackRow(body []byte, row []int8) ([]byte, bool) {
	masks := (len(row) + 7) / 8
	if len(body) < masks {
		return nil, false
	}
	at := masks
	for i := range row {
		if body[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		if at >= len(body) {
			return nil, false
		}
		row[i] = int8(body[at])
		at++
	}
	return body[at:], true
}

func (m *model) enter(key uint32, row int32) {
	i := spread(key) & m.mask
	for m.table[i] != 0 {
		i = (i + 1) & m.mask
	}
	m.table[i], m.rows[i] = key, row
}

func spread(k uint32) uint32 { return k * 2654435769 >> 7 }

// row finds the weights of a feature; nil for one that was never trained on.
func (m *model) row(key uint32) []int8 {
	i := spread(key) & m.mask
	for m.table[i] != key {
		if m.table[i] == 0 {
			return nil
		}
		i = (i + 1) & m.mask
	}
	at := int(m.rows[i]) * m.width
	return m.w[at : at+m.width]
}

// sums adds up the weights of the features for all heads.
func (m *model) sums(features []Feature) []float32 {
	out := make([]float32, m.width)
	for _, f := range features {
		row := m.row(f.Key)
		for i, w := range row {
			if w != 0 {
				out[i] += f.Value * float32(w)
			}
		}
	}
	return out
}

// guess is a class with its probability.
type guess struct {
	class string
	p     float64
}

// head turns the sums of one head into probabilities, best first. Classes that
// allowed refuses are left out; nil allows all.
func (m *model) head(name string, sums []float32, allowed func(string) bool) []guess {
	i := slices.IndexFunc(m.info.Heads, func(h headInfo) bool { return h.Name == name })
	h, at := m.info.Heads[i], m.places[name]
	out := make([]guess, 0, len(h.Classes))
	for k, class := range h.Classes {
		if allowed == nil || allowed(class) {
			out = append(out, guess{class, (float64(sums[at+k])*h.Scale + h.Bias[k]) / h.Temperature})
		}
	}
	if len(out) == 0 {
		return nil
	}
	top := out[0].p
	for _, g := range out {
		top = math.Max(top, g.p)
	}
	total := 0.0
	for k := range out {
		out[k].p = math.Exp(out[k].p - top)
		total += out[k].p
	}
	for k := range out {
		out[k].p /= total
	}
	slices.SortStableFunc(out, func(a, b guess) int {
		switch {
		case a.p > b.p:
			return -1
		case a.p < b.p:
			return 1
		}
		return 0
	})
	return out
}
