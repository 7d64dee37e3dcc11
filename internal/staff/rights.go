package staff

// Right is one thing that a member may be allowed to do.
type Right string

// Rights.
const (
	RightClaim            Right = "claim"             // take a case from a queue
	RightReply            Right = "reply"             // write to a resident, and recall it
	RightNote             Right = "note"              // write inside a case
	RightAssign           Right = "assign"            // name the owner of a case
	RightTransfer         Right = "transfer"          // move a case to another queue
	RightHandle           Right = "handle"            // mark the work done, with measures
	RightClose            Right = "close"             // record the follow-up
	RightWaive            Right = "waive"             // close without a follow-up, with a reason
	RightBindGroup        Right = "bind_group"        // bind a work group to a queue
	RightWriteNotice      Right = "write_notice"      // compose a notice or survey
	RightApproveNotice    Right = "approve_notice"
	RightApproveEmergency Right = "approve_emergency"
	RightWriteArticle     Right = "write_article"     // write knowledge articles
	RightApproveArticle   Right = "approve_article"   // let an article answer residents
	RightSupervise        Right = "supervise"         // act on cases of every queue
	RightKeepResidents    Right = "keep_residents"    // import residents (R-175: the information officer keeps resident data)
	RightKeepRegister     Right = "keep_register"     // complete the publication register and tick forms off
	RightAdmin            Right = "admin"             // settings, accounts
)

// Role is the code of requirements section 20 or glossary section 1.
type Role string

// Roles. The owners' committee is an outside party and no staff.
const (
	RoleQualitySupervisor  Role = "quality_supervisor"  // 公司品质管理部客服主管
	RoleCompanyLeader      Role = "company_leader"      // 公司分管领导
	RoleFinanceHead        Role = "finance_head"        // 财务管理部负责人
	RoleCenterManager      Role = "center_manager"      // 服务中心经理
	RoleDeputyManager      Role = "deputy_manager"      // 服务中心副经理(客户)
	RoleRelationSpecialist Role = "relation_specialist" // 客户关系专员
	RoleDepartmentManager  Role = "department_manager"  // 部门经理
	RoleCSSupervisor       Role = "cs_supervisor"       // 服务中心客服主管
	RoleDepartmentCSLead   Role = "department_cs_lead"  // 部门客户服务负责人
	RoleCSManager          Role = "cs_manager"          // 客服部经理
	RoleCustomerSpecialist Role = "customer_specialist" // 客服专员
	RoleCustomerAssistant  Role = "customer_assistant"  // 客户助理
	RoleFrontDesk          Role = "front_desk"          // 前台
	RoleInformationOfficer Role = "information_officer" // 部门信息员
	RoleLineHead           Role = "line_head"           // 业务端口主管
	RoleTrainee            Role = "trainee"             // 未独立上岗的新员工
	RoleDutyManager        Role = "duty_manager"        // 值班经理
	RoleSteward            Role = "steward"             // 楼栋管家
	RoleTechnician         Role = "technician"          // 维修师傅
	RoleTeamLead           Role = "team_lead"           // 班组长
	RoleSupervisor         Role = "supervisor"          // 主管
)

// What roles have in common.
var (
	// work is what everyone does who answers residents alone.
	work = []Right{RightClaim, RightReply, RightNote, RightTransfer, RightHandle, RightClose, RightWriteArticle}
	// lead is added for whoever directs others: supervisors and above.
	lead = []Right{RightAssign, RightBindGroup, RightWriteNotice, RightKeepRegister}
	// oversee is added for whoever watches all queues.
	oversee = []Right{RightSupervise, RightWaive, RightApproveArticle}
)

// rights is the one table of who may what.
var rights = table(map[Role][][]Right{
	RoleQualitySupervisor:  {work, lead, oversee},
	RoleCompanyLeader:      {work, lead, oversee, {RightApproveNotice, RightApproveEmergency}},
	RoleFinanceHead:        {{RightNote}},
	RoleCenterManager:      {work, lead, oversee, {RightApproveNotice, RightApproveEmergency}},
	RoleDeputyManager:      {work, lead, oversee, {RightApproveNotice, RightApproveEmergency}},
	RoleRelationSpecialist: {work, lead, oversee},
	RoleDepartmentManager:  {work, lead, oversee, {RightApproveNotice, RightApproveEmergency}},
	RoleCSSupervisor:       {work, lead, oversee},
	RoleDepartmentCSLead:   {work, lead},
	RoleCSManager:          {work, lead, oversee, {RightApproveNotice, RightApproveEmergency}},
	RoleCustomerSpecialist: {work},
	RoleCustomerAssistant:  {work},
	RoleFrontDesk:          {work},
	RoleInformationOfficer: {work, {RightWriteNotice, RightKeepResidents, RightKeepRegister}},
	RoleLineHead:           {work, lead},
	RoleTrainee:            {{RightNote}},
	RoleDutyManager:        {work, lead, oversee, {RightApproveEmergency}},
	RoleSteward:            {work},
	RoleTechnician:         {work},
	RoleTeamLead:           {work, lead},
	RoleSupervisor:         {work, lead, {RightSupervise}},
})

func table(m map[Role][][]Right) map[Role]map[Right]bool {
	out := make(map[Role]map[Right]bool, len(m))
	for role, groups := range m {
		out[role] = map[Right]bool{}
		for _, g := range groups {
			for _, r := range g {
				out[role][r] = true
			}
		}
	}
	return out
}

// KnownRole tells whether a role is in the table.
func KnownRole(r Role) bool { _, ok := rights[r]; return ok }

// Roles gives every role.
func Roles() []Role {
	out := make([]Role, 0, len(rights))
	for r := range rights {
		out = append(out, r)
	}
	return out
}

// May tells whether the member has a right. A trainee has those of the role
// trainee, whatever he is called.
func (m Member) May(r Right) bool {
	role := Role(m.Role)
	if m.Trainee {
		role = RoleTrainee
	}
	return rights[role][r]
}

// May tells whether the principal has a right: an administrator has all.
func (p Principal) May(r Right) bool { return p.Admin || p.Member.May(r) }
