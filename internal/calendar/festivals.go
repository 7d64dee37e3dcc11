package calendar

import (
	_ "embed"
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed data/festivals.yaml
var festivalDays []byte

// Festivals are the days on which a greeting says more than good morning
// . The zero value has none.
type Festivals struct{ list []festival }

type festival struct {
	Key   string   `yaml:"key"`
	Days  int      `yaml:"days"`
	Dates []string `yaml:"dates"`
}

// LoadFestivals reads the days that come with the program.
func LoadFestivals() (Festivals, error) {
	var file struct {
		Festivals []festival `yaml:"festivals"`
	}
	if err := yaml.Unmarshal(festivalDays, &file); err != nil {
		return Festivals{}, fmt.Errorf("calendar: festivals: %w", err)
	}
	for _, f := range file.Festivals {
		if f.Key == "" || f.Days < 1 || len(f.Dates) == 0 {
			return Festivals{}, fmt.Errorf("calendar: festival %q needs key, days and dates", f.Key)
		}
		for _, d := range f.Dates {
			if _, ok := dayOf(d, 2028); !ok { // a leap year knows every day
				return Festivals{}, fmt.Errorf("calendar: festival %s: %q is no day; write MM-DD or YYYY-MM-DD", f.Key, d)
			}
		}
	}
	return Festivals{file.Festivals}, nil
}

// At gives the key of the festival on the local day of a moment, "" for none.
// Of two on one day the one that is listed last wins: it is the shorter one.
func (f Festivals) At(at time.Time) string {
	zone := time.FixedZone("Asia/Shanghai", 8*3600)
	at = at.In(zone)
	today := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, zone)
	key := ""
	for _, x := range f.list {
		for _, d := range x.Dates {
			first, ok := dayOf(d, today.Year())
			if ok && !today.Before(first) && today.Before(first.AddDate(0, 0, x.Days)) {
				key = x.Key
			}
		}
	}
	return key
}

// dayOf reads MM-DD of a year, or a full date.
func dayOf(s string, year int) (time.Time, bool) {
	if len(s) == len("01-02") {
		s = fmt.Sprintf("%04d-%s", year, s)
	}
	day, err := time.ParseInLocation(time.DateOnly, s, time.FixedZone("Asia/Shanghai", 8*3600))
	return day, err == nil
}
