package sample

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"

	"guanjia/internal/estate"
)

const (
	buildings     = 6
	baseEntrances = 2
	baseFloors    = 15
	baseRooms     = 2
	moreFloors    = 33 // of the entrances that a bigger sample adds
	mostEntrances = 97 // of those, in a building: codes have two digits
	mostRooms     = 99 // on a floor, likewise

	// ownPhone belongs to the home that the demo's story binds.
	ownUnit  = "3-2-1201"
	ownPhone = "13800000001"

	seed = 20260101
)

// Household is a unit with everyone who belongs to it.
type Household struct {
	Unit   estate.Unit
	People []Person
}

// Person is a resident in a household. In the second flat of a two-flat owner
// he is the same resident.
type Person struct {
	ID, Name, Phone string
	Role            string
	OpenID          string // empty: does not follow, or has not bound
	Nickname        string
	Known           bool // stands in an earlier household already
}

// Bound tells whether the resident follows the account and is bound.
func (p Person) Bound() bool { return p.OpenID != "" }

// kind is what lives in a unit: role and bound or not, for each person.
type kind []struct {
	role  string
	bound bool
}

// kinds repeat along the units of a building, so that every building has each:
// bound, by phone only, both in one home, nobody bound, tenants, a short stay.
func kinds() []kind {
	const owner, family, tenant = estate.RoleOwner, estate.RoleFamily, estate.RoleTenant
	return []kind{
		{{owner, true}, {family, true}},
		{{owner, true}},
		{{tenant, true}},
		{{owner, false}},
		{{owner, true}, {family, false}},
		{{owner, true}},
		{{owner, true}, {family, true}},
		{{tenant, false}},
		{{estate.RoleShortStay, true}},
		{{owner, true}, {tenant, true}},
		{{owner, true}, {family, false}},
		{{owner, true}},
	}
}

// secondFlats gives, for a flat, the flat whose owner owns it too.
func secondFlats() map[string]string {
	return map[string]string{
		"4-1-301": "3-1-301", // spans two buildings
		"3-2-502": "3-2-501",
		"4-2-502": "4-2-501",
		"5-2-301": "5-1-301",
	}
}

// vacant units have nobody: two in each building.
func vacant(n int) bool { return n == 23 || n == 47 }

// shops are the ground floor of the first entrance in some buildings.
func shop(building, entrance, floor int) bool {
	return floor == 1 && entrance == 1 && (building == 1 || building >= 3 && building <= 5)
}

// Households gives all homes in a fixed order: first those that every sample
// has, then as many as it takes to reach the number of residents asked for.
func (s *Sample) Households() iter.Seq[Household] {
	return func(yield func(Household) bool) {
		g := &generator{
			kinds: kinds(), owners: map[string]Person{}, seconds: secondFlats(), number: 1,
			surnames: strings.Fields(surnames), given: strings.Fields(givenNames), nicknames: strings.Fields(nicknames),
		}
		for h := range g.base() {
			if !yield(h) {
				return
			}
		}
		for h := range g.more(s.residents - g.count) {
			if !yield(h) {
				return
			}
		}
	}
}

type generator struct {
	kinds   []kind
	seconds map[string]string
	owners  map[string]Person // of the first flats of two-flat owners
	number  int               // of the last resident made; 1 is kept for the story's
	count   int               // residents so far

	surnames, given, nicknames []string
}

func (g *generator) base() iter.Seq[Household] {
	return func(yield func(Household) bool) {
		for b := 1; b <= buildings; b++ {
			n := 0
			for e := 1; e <= baseEntrances; e++ {
				for f := 1; f <= baseFloors; f++ {
					for r := 1; r <= baseRooms; r++ {
						u := g.unit(b, e, f, r)
						u.Vacant = vacant(n) && u.Kind == estate.KindFlat
						if !yield(g.household(u, n)) {
							return
						}
						n++
					}
				}
			}
		}
	}
}

// more adds homes with left residents altogether, in further entrances.
func (g *generator) more(left int) iter.Seq[Household] {
	return func(yield func(Household) bool) {
		if left <= 0 {
			return
		}
		perHome := 17.0 / 12 // of kinds
		homes := int(float64(left)/perHome) + 1
		rooms := min(mostRooms, max(4, homes/(buildings*mostEntrances*moreFloors)+1))
		n := 0
		for e := baseEntrances + 1; e <= baseEntrances+mostEntrances; e++ {
			for b := 1; b <= buildings; b++ {
				for f := 1; f <= moreFloors; f++ {
					for r := 1; r <= rooms; r++ {
						h := g.household(g.unit(b, e, f, r), n)
						h.People = h.People[:min(len(h.People), left)]
						left -= len(h.People)
						n++
						if !yield(h) || left <= 0 {
							return
						}
					}
				}
			}
		}
	}
}

func (g *generator) unit(b, e, f, r int) estate.Unit {
	ref := estate.UnitRef{Building: strconv.Itoa(b), Entrance: strconv.Itoa(e), Room: fmt.Sprintf("%d%02d", f, r)}
	u := estate.Unit{
		ID: "unit-" + ref.Code(), CompanyID: CompanyID, ProjectID: ProjectID, EntranceID: entranceID(ref.Building, ref.Entrance),
		Building: ref.Building, Entrance: ref.Entrance, Room: ref.Room, Code: ref.Code(), Floor: f, Kind: estate.KindFlat,
	}
	if shop(b, e, f) {
		u.Kind = estate.KindShop
	}
	return u
}

func (g *generator) household(u estate.Unit, n int) Household {
	h := Household{Unit: u}
	switch {
	case u.Vacant:
	case u.Code == ownUnit:
		g.count++
		h.People = []Person{{ID: residentID(1), Name: "王晓梅", Phone: ownPhone, Role: estate.RoleOwner, Nickname: "晓梅"}}
	case u.Kind == estate.KindShop:
		h.People = []Person{g.person(estate.RoleMerchant, n%2 == 0)}
	case g.seconds[u.Code] != "":
		owner := g.owners[g.seconds[u.Code]]
		owner.Known = true
		h.People = []Person{owner}
	case g.isFirst(u.Code):
		owner := g.person(estate.RoleOwner, true)
		g.owners[u.Code] = owner
		h.People = []Person{owner}
	default:
		for _, p := range g.kinds[n%len(g.kinds)] {
			h.People = append(h.People, g.person(p.role, p.bound))
		}
	}
	return h
}

func (g *generator) isFirst(code string) bool {
	for _, first := range g.seconds {
		if first == code {
			return true
		}
	}
	return false
}

// person makes the next resident. Number 1 is the story's.
func (g *generator) person(role string, bound bool) Person {
	g.count++
	g.number++
	no := g.number
	rnd := rand.New(rand.NewPCG(seed, uint64(no))) //nolint:gosec // the same every time is what is wanted
	given := pick(rnd, g.given)
	p := Person{
		ID: residentID(no), Name: pick(rnd, g.surnames) + given, Phone: fmt.Sprintf("138%08d", no), Role: role, Nickname: pick(rnd, g.nicknames) + given,
	}
	if bound {
		p.OpenID = openID(no)
	}
	return p
}

func residentID(no int) string { return fmt.Sprintf("resident-%07d", no) }

// openID has the form of the platform's: 28 characters, the first an o.
func openID(no int) string { return fmt.Sprintf("oDemo%023d", no) }

func pick(rnd *rand.Rand, words []string) string { return words[rnd.IntN(len(words))] }

// Names as they are common; together they mean nobody.
const (
	surnames = `王 李 张 刘 陈 杨 黄 赵 吴 周 徐 孙 马 朱 胡 郭 何 高 林 罗 郑 梁 谢 宋 唐 许 韩 冯 邓 曹 彭 曾 萧 田 董 袁 潘 于 蒋 蔡 余 杜
		叶 程 苏 魏 吕 丁 任 沈 姚 卢 姜 崔 钟 谭 陆 汪 范 金 石 廖 贾 夏 韦 付 方 白 邹 孟 熊 秦 邱 江 尹 薛 闫 段 雷 侯 龙 史 陶 黎`
	givenNames = `伟 芳 娜 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 霞 平 刚 桂英 秀兰 建国 建华 志强 海燕 晓明 小红 玉兰 春梅 国庆 文博 子涵
		浩然 雨桐 梓轩 欣怡 思远 嘉怡 俊杰 婷婷 雪梅 立新 长江 庆华 佳琪 梦瑶 天宇 一诺 俊熙 诗涵 宇轩 可馨 晨曦 鹏飞 志远 慧敏 美玲`
	nicknames = `小 阿 大 老 爱笑的 早起的 楼上的 开心`
)
