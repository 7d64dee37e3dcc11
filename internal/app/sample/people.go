package sample

import (
	"guanjia/internal/queue"
	"guanjia/internal/staff"
)

// person is a member of the staff with the lines he works on.
type person struct {
	userID, name string
	role         staff.Role
	lines        []string
}

// people has every role of the requirements' section 20 at least once and, on
// every line, three or more members who work alone.
func people() []person {
	service := []string{queue.LineCustomerService}
	engineering := []string{queue.LineEngineering}
	security := []string{queue.LineOrderSecurity}
	environment := []string{queue.LineEnvironment}
	return []person{
		{"chenjing", "陈静", staff.RoleCSSupervisor, service},
		{"liumin", "刘敏", staff.RoleFrontDesk, service},
		{"zhaoxia", "赵霞", staff.RoleCustomerSpecialist, service},
		{"sunli", "孙丽", staff.RoleCustomerAssistant, service},
		{"heyun", "何芸", staff.RoleSteward, service},
		{"dengyan", "邓燕", staff.RoleDepartmentCSLead, service},
		{"jiangnan", "江南", staff.RoleInformationOfficer, service},
		{"wuxiao", "吴晓", staff.RoleTrainee, service},
		{"zhangwei", "张伟", staff.RoleLineHead, engineering},
		{"liqiang", "李强", staff.RoleTechnician, engineering},
		{"wangtao", "王涛", staff.RoleTechnician, engineering},
		{"qianjin", "钱进", staff.RoleDepartmentManager, engineering},
		{"zhoujun", "周军", staff.RoleLineHead, security},
		{"huangbo", "黄波", staff.RoleTeamLead, security},
		{"madong", "马东", staff.RoleTeamLead, security},
		{"xujuan", "徐娟", staff.RoleLineHead, environment},
		{"gaofeng", "高峰", staff.RoleTeamLead, environment},
		{"linhong", "林红", staff.RoleTeamLead, environment},
		{"yangguang", "杨光", staff.RoleDutyManager, []string{
			queue.LineCustomerService, queue.LineEngineering, queue.LineOrderSecurity, queue.LineEnvironment,
		}},
		{"luoping", "罗平", staff.RoleCenterManager, nil},
		{"tangyu", "唐宇", staff.RoleDeputyManager, nil},
		{"fanghua", "方华", staff.RoleRelationSpecialist, nil},
		{"xiaolan", "肖兰", staff.RoleCSManager, nil},
		{"panlei", "潘磊", staff.RoleQualitySupervisor, nil},
		{"yuanyi", "袁毅", staff.RoleCompanyLeader, nil},
		{"shenqiu", "沈秋", staff.RoleFinanceHead, nil},
	}
}

// lines are the queues, each with its work group.
func lines() []struct{ line, name, chatID, group string } {
	return []struct{ line, name, chatID, group string }{
		{queue.LineCustomerService, "客户服务", "wrDemoCustomerService01", "青禾花园客服群"},
		{queue.LineEngineering, "工程维修", "wrDemoEngineering01", "青禾花园工程群"},
		{queue.LineOrderSecurity, "秩序维护", "wrDemoOrderSecurity01", "青禾花园秩序群"},
		{queue.LineEnvironment, "环境", "wrDemoEnvironment01", "青禾花园环境群"},
	}
}
