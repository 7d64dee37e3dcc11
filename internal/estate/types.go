package estate

import (
	"errors"
	"time"
)

// Project is a managed estate (小区). Its service center owns queues and calendars.
type Project struct {
	ID, CompanyID, Name, ServiceCenter string
}

// Kinds of unit.
const (
	KindFlat = "flat"
	KindShop = "shop"
)

// Roles of a resident in a unit (glossary section 1).
const (
	RoleOwner     = "owner"
	RoleFamily    = "family"
	RoleTenant    = "tenant"
	RoleShortStay = "short_stay"
	RoleMerchant  = "merchant"
)

// Roles are the roles of a resident, in the order of the glossary.
var Roles = []string{RoleOwner, RoleFamily, RoleTenant, RoleShortStay, RoleMerchant}

// Building is a building (楼栋) of a project.
type Building struct {
	ID, CompanyID, ProjectID, Code string
}

// Entrance is a stairwell (单元) of a building.
type Entrance struct {
	ID, CompanyID, BuildingID, Code string
}

// Unit is one dwelling or shop (房屋).
type Unit struct {
	ID, CompanyID, ProjectID string
	EntranceID               string
	Building, Entrance, Room string
	Code                     string // 3-2-1201
	Floor                    int    // 0 where the room number tells none
	Kind                     string // KindFlat or KindShop
	Vacant                   bool   // nobody lives there (空置房)
}

// Resident is a person living or trading in a project.
type Resident struct {
	ID, CompanyID, Name string
	Phone               string // 11 digits, or empty
	PhoneDead           bool   // the carrier says that the number does not exist
	OpenID              string // of the newest binding, or empty
	AccountID           string // the Official Account of that openid
	Homes               []Home // those of today, by code
}

// Home is the place of a resident in one unit.
type Home struct {
	UnitID, Unit        string // id and code
	ProjectID, Building string
	Role                string
}

// HomeRow is a home as it is stored: from when to when.
type HomeRow struct {
	ID, CompanyID, ResidentID, UnitID, Role string
	Since, Until                            time.Time // Until zero: still
}

// Binding says that a WeChat user is a resident.
type Binding struct {
	ID, CompanyID, AccountID, OpenID, ResidentID string
	BoundAt                                      time.Time
}

// Filter selects residents; what is empty is not asked for.
type Filter struct {
	ID      string
	Unit    string // code of a unit, in any writing ParseUnitCode reads
	Phone   string // in any writing NormalizePhone reads
	OpenID  string
	Project string // id
	Bound   *bool
	Cursor  string // next of the last page
	Limit   int    // 1 to 500, 0 means 100
}

// ErrAmbiguousUnit: a code stands for homes in several projects of the company.
var ErrAmbiguousUnit = errors.New("estate: unit code is used in several projects")
