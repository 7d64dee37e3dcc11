package knowledge

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// weightsVersion changes with the layout of the file or the meaning of a
// feature, so that weights of another program are refused instead of misread.
const weightsVersion = 2

const weightsMagic = "guanjia-knowledge-weights"

// embeddedWeights are made by `guanjia train --knowledge`.
//
//go:embed weights.bin
var embeddedWeights []byte

// Weights is what training makes.
type Weights struct {
	// Inputs is the digest of corpus, concepts and kinds that were trained on.
	Inputs string
	// Examples is the number of questions that were trained on.
	Examples int
	// Kinds in the order of the columns of W.
	Kinds []string
	// Keys are the features, ascending, one a row of W.
	Keys []uint32
	Bias []float64
	// W holds one row a feature and one column a kind.
	W []float64
	// Rank weighs the signs by which an article is chosen; see signs.
	Rank Rank
}

// Rank is the small logistic model over the signs of a candidate, and the
// threshold below which nothing is answered.
type Rank struct {
	Bias      float64   `json:"bias"`
	Weights   []float64 `json:"weights"`
	Threshold float64   `json:"threshold"`
}

type header struct {
	Inputs   string    `json:"inputs"`
	Examples int       `json:"examples"`
	Features int       `json:"features"`
	Kinds    []string  `json:"kinds"`
	Bias     []float64 `json:"bias"`
	Scale    float64   `json:"scale"` // what one step of a stored weight is worth
	Rank     Rank      `json:"rank"`
}

// Pack writes a weights file. The bytes depend on nothing but the arguments.
func (w Weights) Pack() ([]byte, error) {
	n := len(w.Kinds)
	if len(w.W) != n*len(w.Keys) || len(w.Bias) != n || n < 2 {
		return nil, fmt.Errorf("knowledge: %d weights and %d biases for %d features of %d kinds", len(w.W), len(w.Bias), len(w.Keys), n)
	}
	largest := 0.0
	for _, v := range w.W {
		largest = math.Max(largest, math.Abs(v))
	}
	// Float rounding of the last bits must not show in the file.
	h := header{Inputs: w.Inputs, Examples: w.Examples, Features: len(w.Keys), Kinds: w.Kinds, Scale: math.Ceil(largest/127*1e6)/1e6 + 1e-6,
		Rank: Rank{Bias: round(w.Rank.Bias), Threshold: round(w.Rank.Threshold)}}
	for _, v := range w.Rank.Weights {
		h.Rank.Weights = append(h.Rank.Weights, round(v))
	}
	for _, b := range w.Bias {
		h.Bias = append(h.Bias, round(b))
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("knowledge: describe the weights: %w", err)
	}
	var body bytes.Buffer
	body.Write(head)
	body.WriteByte('\n')
	var last uint32
	row := make([]int8, n)
	for i, k := range w.Keys {
		if i > 0 && k <= last {
			return nil, errors.New("knowledge: the features are not in ascending order")
		}
		body.Write(binary.AppendUvarint(nil, uint64(k-last)))
		last = k
		for c, v := range w.W[i*n : (i+1)*n] {
			row[c] = int8(math.RoundToEven(v / h.Scale))
		}
		packRow(&body, row)
	}
	sum := sha256.Sum256(body.Bytes())
	return append(fmt.Appendf(nil, "%s %d %s\n", weightsMagic, weightsVersion, hex.EncodeToString(sum[:])), body.Bytes()...), nil
}

func round(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// packRow writes which groups of eight columns are not empty, which columns of
// these are not zero, then the weights.
func packRow(b *bytes.Buffer, row []int8) {
	var groups, columns, weights []byte
	for at := 0; at < len(row); at += 8 {
		if at%64 == 0 {
			groups = append(groups, 0)
		}
		var bits byte
		for i := at; i < min(at+8, len(row)); i++ {
			if row[i] != 0 {
				bits |= 1 << (i - at)
				weights = append(weights, byte(row[i]))
			}
		}
		if bits != 0 {
			groups[at/64] |= 1 << (at / 8 % 8)
			columns = append(columns, bits)
		}
	}
	b.Write(groups)
	b.Write(columns)
	b.Write(weights)
}

// model is linear: each kind sums the weights of the features that a text has.
type model struct {
	header
	table  []uint32 // open addressing: feature key, 0 is empty
	rows   []int32  // where in packed the row of the key at the same place of table begins
	mask   uint32
	packed []byte
	out    []bool // kinds that no article answers
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
	m := &model{}
	if err := json.Unmarshal(head, &m.header); err != nil {
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

// Limits of what a weights file may ask for.
const (
	maxFeatures = 1 << 20
	maxKinds    = 1000
)

func (m *model) check() error {
	if m.Features < 0 || m.Features > maxFeatures {
		return fmt.Errorf("%d features", m.Features)
	}
	if len(m.Kinds) < 2 || len(m.Kinds) > maxKinds || len(m.Bias) != len(m.Kinds) {
		return fmt.Errorf("%d kinds and %d biases", len(m.Kinds), len(m.Bias))
	}
	if !(m.Scale > 0) {
		return fmt.Errorf("scale %v", m.Scale)
	}
	if n := len(m.Rank.Weights); n != NumSigns {
		return fmt.Errorf("%d weights of signs, want %d", n, NumSigns)
	}
	for _, k := range m.Kinds {
		m.out = append(m.out, outside(k))
	}
	return nil
}

// unpack checks the rows and notes where each begins. They stay packed: most
// weights are zero, so that a sum over the rest is faster, and loading is.
func (m *model) unpack(body []byte) error {
	size := uint32(64)
	for int(size) < m.Features*2 {
		size *= 2
	}
	m.mask = size - 1
	m.table, m.rows = make([]uint32, size), make([]int32, size)
	m.packed = body
	var key uint32
	at := 0
	for i := range m.Features {
		d, used := binary.Uvarint(body[at:])
		if used <= 0 || d == 0 || d > math.MaxUint32-uint64(key) {
			return fmt.Errorf("feature %d of %d cannot be read", i+1, m.Features)
		}
		at += used
		key += uint32(d)
		slot := spread(key) & m.mask
		for m.table[slot] != 0 {
			slot = (slot + 1) & m.mask
		}
		m.table[slot], m.rows[slot] = key, int32(at)
		size, ok := m.rowSize(body[at:])
		if !ok {
			return fmt.Errorf("the weights of feature %d of %d are cut off, or more than there are kinds", i+1, m.Features)
		}
		at += size
	}
	if at != len(body) {
		return fmt.Errorf("%d bytes too many", len(body)-at)
	}
	return nil
}

// groupBytes is how many bytes tell which groups of columns a row has.
func (m *model) groupBytes() int { return (len(m.Kinds) + 63) / 64 }

// rowSize is the length of the packed row at the beginning of body; false when
// it is cut off or names a column that there isn't.
func (m *model) rowSize(body []byte) (int, bool) {
	head := m.groupBytes()
	if len(body) < head {
		return 0, false
	}
	at, weights := head, 0
	for k, groups := range body[:head] {
		for ; groups != 0; groups &= groups - 1 {
			if at >= len(body) {
				return 0, false
			}
			first := k*64 + bits.TrailingZeros8(groups)*8
			if first+bits.Len8(body[at]) > len(m.Kinds) {
				return 0, false
			}
			weights += bits.OnesCount8(body[at])
			at++
		}
	}
	return at + weights, at+weights <= len(body)
}

func spread(k uint32) uint32 { return k * 2654435769 >> 7 }

// add adds the weights of a feature, times its value; false for a feature that
// was never trained on.
func (m *model) add(sums []float32, key uint32, value float32) bool {
	i := spread(key) & m.mask
	for m.table[i] != key {
		if m.table[i] == 0 {
			return false
		}
		i = (i + 1) & m.mask
	}
	row := m.packed[m.rows[i]:]
	head := m.groupBytes()
	columns, weight := head, head
	for _, groups := range row[:head] {
		weight += bits.OnesCount8(groups)
	}
	for k, groups := range row[:head] {
		for ; groups != 0; groups &= groups - 1 {
			first := k*64 + bits.TrailingZeros8(groups)*8
			for b := row[columns]; b != 0; b &= b - 1 {
				sums[first+bits.TrailingZeros8(b)] += float32(value * float32(int8(row[weight])))
				weight++
			}
			columns++
		}
	}
	return true
}

// kinds gives the probability of each kind, and how much of the text the model
// has ever seen (0 to 1).
func (m *model) kinds(features []Feature) (p []float32, known float64) {
	p = make([]float32, len(m.Kinds))
	seen, all := 0.0, 0.0
	for _, f := range features {
		all += float64(f.Value)
		if m.add(p, f.Key, f.Value) {
			seen += float64(f.Value)
		}
	}
	top := float32(math.Inf(-1))
	for i := range p {
		p[i] = float32(p[i]*float32(m.Scale)) + float32(m.Bias[i])
		top = max(top, p[i])
	}
	var sum float32
	for i := range p {
		p[i] = float32(math.Exp(float64(p[i] - top)))
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	if all > 0 {
		known = seen / all
	}
	return p, known
}
