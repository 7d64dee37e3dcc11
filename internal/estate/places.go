package estate

import (
	"strconv"
	"strings"
)

// ParseBuilding reads a building in any usual writing (3, 3栋, 三号楼, A座)
// and gives its code. The whole text must be the building.
func ParseBuilding(s string) (code string, ok bool) {
	parts, ok := placeParts(s)
	if !ok || len(parts) != 1 || parts[0].mark != markNone && parts[0].mark != markBuilding || !validBuilding(parts[0].value) {
		return "", false
	}
	return parts[0].value, true
}

// ParseEntrance reads an entrance with its building (3-2, 3栋2单元) and gives
// the code building-entrance.
func ParseEntrance(s string) (code string, ok bool) {
	parts, ok := placeParts(s)
	if !ok || len(parts) != 2 || !validBuilding(parts[0].value) || !validEntrance(parts[1].value) {
		return "", false
	}
	if m := parts[0].mark; m != markBuilding && m != markDash {
		return "", false
	}
	if m := parts[1].mark; m != markNone && m != markEntrance {
		return "", false
	}
	return parts[0].value + "-" + parts[1].value, true
}

func placeParts(s string) ([]unitPart, bool) {
	if len(s) > maxUnitText*4 {
		return nil, false
	}
	return unitParts(fold(s))
}

// FloorRange is floors From to To, both included.
type FloorRange struct{ From, To int }

// Bounds of what ParseFloors reads: the highest building of the country has
// 128 floors, and nobody lists more ranges than that.
const (
	maxFloor       = 200
	maxFloorRanges = 20
)

// ParseFloors reads floors as people write them: "5", "10-18", "10至18层",
// "20-" (20 and up), "-3" (up to 3), and several with commas. Empty text is no
// range, which means all floors.
func ParseFloors(s string) ([]FloorRange, bool) {
	if len(s) > maxUnitText*4 {
		return nil, false
	}
	s = fold(s)
	if s == "" {
		return nil, true
	}
	items := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '、' || r == ';' })
	if len(items) == 0 || len(items) > maxFloorRanges {
		return nil, false
	}
	out := make([]FloorRange, len(items))
	for i, item := range items {
		r, ok := floorRange(strings.TrimSpace(item))
		if !ok {
			return nil, false
		}
		out[i] = r
	}
	return out, true
}

var floorWords = strings.NewReplacer("楼层", "", "层", "", "楼", "", "F", "", "至", "-", "到", "-", "~", "-", " ", "", "以上", "-", "以下", "<")

func floorRange(s string) (FloorRange, bool) {
	s = floorWords.Replace(s)
	if rest, below := strings.CutSuffix(s, "<"); below {
		s = "-" + rest
	}
	from, to, ranged := strings.Cut(s, "-")
	r := FloorRange{From: 1, To: maxFloor}
	var ok bool
	if from != "" {
		if r.From, ok = floorNumber(from); !ok {
			return FloorRange{}, false
		}
	}
	switch {
	case !ranged:
		r.To = r.From
	case to != "":
		if r.To, ok = floorNumber(to); !ok {
			return FloorRange{}, false
		}
	}
	return r, from+to != "" && r.From <= r.To
}

func floorNumber(s string) (int, bool) {
	for _, r := range s {
		if !isCodeRune(r) {
			return 0, false
		}
	}
	n, err := strconv.Atoi(codeValue(s))
	return n, err == nil && n >= 1 && n <= maxFloor
}
