// SPDX-License-Identifier: GPL-2.0
/*
 * The permission table of config space, and the walker that lays it over the
 * capabilities of a device.
 *
 * Default deny: a dword that no row reaches reads as zero and drops writes,
 * because on some devices even reading an undefined register does harm. Inside
 * of a capability that is shown, a register without a row reads as hardware and
 * drops writes.
 *
 * The device is not trusted. Lists are collected once, with bounds, before
 * anything is made of them; what reads as hardware later on never includes a
 * link, so the user sees the lists as they were found.
 *
 * This file is compiled for user space, too: see caps.h.
 */
#include "caps.h"

/* Names and reasons are for the documentation; the module has no use for them. */
#ifdef UVFIO_CAPS_DOC
#define DOC(_name, ...) .name = _name, .why = { __VA_ARGS__ }
#else
#define DOC(...)
#endif

#ifndef PCI_EXT_CAP_ID_VF_REBAR
#define PCI_EXT_CAP_ID_VF_REBAR	0x24
#endif

/*
 * A register: @len bytes (1, 2, or a multiple of 4) at @off from the start of its
 * capability. The masks are those of struct uvfio_reg; of a register longer than
 * a dword each dword has them. @copy: the bits that do not read as hardware begin
 * as what hardware had when the device was bound. @lock: all of it.
 */
struct cap_row {
	u16 off;
	u16 len;
	u32 read;
	u32 keep;
	u32 write;
	u32 w1c;
	u8 fn;
	bool copy;
	bool lock;
#ifdef UVFIO_CAPS_DOC
	const char *name;
	const char *why[6];
#endif
};

struct cap {
	u16 id;
	u16 len;		/* the least it has, in bytes */
	bool hidden;
	bool lock;		/* no permit opens any of it; no row has @write */
	u8 lock_len;		/* nor these bytes up to the next, if that is more */
	bool open_ended;	/* may claim more than it has: ends at the next */
	/* Bytes it has; NULL: @len. May return anything. */
	u32 (*length)(const struct uvfio_caps_walk *walk, u32 pos);
	const struct cap_row *rows;	/* up to the empty one */
#ifdef UVFIO_CAPS_DOC
	const char *name;
	const char *why[6];
#endif
};

/* Not in pci_regs.h */
#define SECPCI_LANE_ERRORS	8
#define SECDEV_LEN		0x18
#define ALL		0xffffffffU

/* The header, type 0: PCI 3.0, 6.1 and 6.2; PCIe 4.0, 7.5.1 */

#define STATUS_W1C	(PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | \
			 PCI_STATUS_REC_TARGET_ABORT | \
			 PCI_STATUS_REC_MASTER_ABORT | \
			 PCI_STATUS_SIG_SYSTEM_ERROR | \
			 PCI_STATUS_DETECTED_PARITY)

static const struct cap_row header_rows[] = {
	{ PCI_VENDOR_ID, 4,
	  DOC("Vendor ID, Device ID",
	      "as the kernel knows them: those of a VF come from its PF") },
	{ PCI_COMMAND, 2, .read = ALL & ~PCI_COMMAND_INTX_DISABLE,
	  .keep = PCI_COMMAND_INTX_DISABLE, .fn = UVFIO_REG_COMMAND,
	  .lock = true,
	  DOC("Command",
	      "I/O Space, Memory Space, Bus Master and Interrupt Disable are the user's",
	      "INTx is disabled as well while the line is masked or not connected",
	      "all else is about the bus, or about errors that concern the whole machine") },
	{ PCI_STATUS, 2, .read = ALL & ~PCI_STATUS_CAP_LIST,
	  .write = STATUS_W1C, .w1c = STATUS_W1C,
	  DOC("Status",
	      "errors of the device itself, for its driver to clear",
	      "Capabilities List says whether any is shown") },
	{ PCI_CLASS_REVISION, 4, .read = ALL,
	  DOC("Revision ID, Class Code", "identity") },
	{ PCI_CACHE_LINE_SIZE, 1, .keep = ALL, .copy = true,
	  DOC("Cache Line Size", "the kernel has set it") },
	{ PCI_LATENCY_TIMER, 1, .keep = ALL, .copy = true,
	  DOC("Latency Timer", "the bus is shared") },
	{ PCI_HEADER_TYPE, 2, .read = ALL,
	  DOC("Header Type, BIST",
	      "a self test takes the device off the bus") },
	{ PCI_BASE_ADDRESS_0, 24, .lock = true,
	  DOC("Base Address 0 to 5",
	      "sizing works, but a BAR stays where the kernel has put it",
	      "a BAR that the user cannot have reads as 0") },
	{ PCI_CARDBUS_CIS, 4, .read = ALL,
	  DOC("Cardbus CIS Pointer", "identity") },
	{ PCI_SUBSYSTEM_VENDOR_ID, 4, .read = ALL,
	  DOC("Subsystem Vendor ID, Subsystem ID", "identity") },
	{ PCI_ROM_ADDRESS, 4, .lock = true,
	  DOC("Expansion ROM Base Address",
	      "as the BARs, with the enable bit; it has no effect on the ROM's region") },
	{ PCI_CAPABILITY_LIST, 1, .lock = true,
	  DOC("Capabilities Pointer", "the first capability that is shown") },
	{ PCI_INTERRUPT_LINE, 1, .keep = ALL, .copy = true,
	  DOC("Interrupt Line", "a note of software's own") },
	{ PCI_INTERRUPT_PIN, 1, .copy = true,
	  DOC("Interrupt Pin", "0 where no INTx is to be had") },
	{ PCI_MIN_GNT, 2, .read = ALL,
	  DOC("Min_Gnt, Max_Lat", "what the device would like of its bus") },
	{}
};

/* Capabilities: PCI 3.0, 6.7; PCIe 4.0, 7.5 and 7.9 */

#define PM_OWN	(PCI_PM_CTRL_STATE_MASK | PCI_PM_CTRL_PME_ENABLE | \
		 PCI_PM_CTRL_PME_STATUS)

static const struct cap_row pm_rows[] = {
	{ PCI_PM_PMC, 2, .read = ALL & ~PCI_PM_CAP_PME_MASK,
	  DOC("PMC",
	      "PME Support reads as 0: waking the machine is the kernel's") },
	{ PCI_PM_CTRL, 2, .read = ALL & ~PM_OWN, .fn = UVFIO_REG_POWER,
	  DOC("PMCSR",
	      "Power State: the kernel makes the transition, and restores what it loses",
	      "PME Enable and PME Status read as 0") },
	{}
};

static const struct cap_row vpd_rows[] = {
	{ PCI_VPD_ADDR, 2, .keep = ALL & ~PCI_VPD_ADDR_F, .fn = UVFIO_REG_VPD,
	  DOC("VPD Address, F",
	      "an address written with F = 0 is read; F = 1 says that it is done",
	      "F = 1 writes nothing, for VPD outlives its user, and becomes 0 at once") },
	{ PCI_VPD_DATA, 4, .fn = UVFIO_REG_VPD_DATA,
	  DOC("VPD Data", "of the address that was read last") },
	{}
};

#define MSI_CONTROL	(PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE)
#define MSIX_CONTROL	(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)

/* Without PCI_MSI_FLAGS_64BIT the data follow the address; both are 16 bit. */
static const struct cap_row msi_rows[] = {
	{ PCI_MSI_FLAGS, 2, .read = ALL & ~MSI_CONTROL, .keep = MSI_CONTROL,
	  DOC("Message Control", "MSI is set up with VFIO_DEVICE_SET_IRQS") },
	{ PCI_MSI_ADDRESS_LO, 20, .keep = ALL,
	  DOC("Message Address, Data, Mask, Pending",
	      "the real ones are the kernel's: a user must not choose where interrupts go") },
	{}
};

static const struct cap_row msix_rows[] = {
	{ PCI_MSIX_FLAGS, 2, .read = ALL & ~MSIX_CONTROL, .keep = MSIX_CONTROL,
	  DOC("Message Control", "MSI-X is set up with VFIO_DEVICE_SET_IRQS") },
	{}
};

#define PCIX_W1C	(PCI_X_STATUS_SPL_DISC | PCI_X_STATUS_UNX_SPL | \
			 PCI_X_STATUS_SPL_ERR)

static const struct cap_row pcix_rows[] = {
	{ PCI_X_STATUS, 4, .read = ALL, .w1c = PCIX_W1C,
	  DOC("PCI-X Status", "errors of a shared bus") },
	{}
};

#define DEVCTL_VIRT	(PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_BCR_FLR)
#define DEVSTA_WRITE	(PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | \
			 PCI_EXP_DEVSTA_FED | PCI_EXP_DEVSTA_URD)
/* Emergency Power Reduction Detected, too */
#define DEVSTA_W1C	(DEVSTA_WRITE | 0x0040)
#define LNKSTA_W1C	(PCI_EXP_LNKSTA_LBMS | PCI_EXP_LNKSTA_LABS)
#define LNKSTA2_W1C	0x0020	/* Link Equalization Request */
#define DEVCTL2_WRITE	(PCI_EXP_DEVCTL2_COMP_TIMEOUT | \
			 PCI_EXP_DEVCTL2_COMP_TMOUT_DIS)

static const struct cap_row exp_rows[] = {
	{ PCI_EXP_DEVCTL, 2, .read = ALL & ~DEVCTL_VIRT,
	  .keep = PCI_EXP_DEVCTL_PAYLOAD, .write = PCI_EXP_DEVCTL_RELAX_EN,
	  .fn = UVFIO_REG_DEVCTL, .copy = true, .lock = true,
	  DOC("Device Control",
	      "Enable Relaxed Ordering is the user's",
	      "Max_Read_Request_Size is the user's, within what the kernel allows",
	      "Max_Payload_Size is remembered, for it has to agree with the path",
	      "Initiate Function Level Reset makes the kernel reset the function; reads as 0",
	      "error reporting, tags, phantom functions and No Snoop are the kernel's") },
	{ PCI_EXP_DEVSTA, 2, .read = ALL, .write = DEVSTA_WRITE,
	  .w1c = DEVSTA_W1C,
	  DOC("Device Status",
	      "errors of the device itself, for its driver to clear") },
	{ PCI_EXP_LNKSTA, 2, .read = ALL, .w1c = LNKSTA_W1C,
	  DOC("Link Status", "the link is the kernel's") },
	{ PCI_EXP_DEVCTL2, 2, .read = ALL, .write = DEVCTL2_WRITE,
	  DOC("Device Control 2",
	      "Completion Timeout Value and Disable are the user's",
	      "ARI, atomic operations, ID-based ordering, LTR and OBFF need the path's consent") },
	{ PCI_EXP_LNKSTA2, 2, .read = ALL, .w1c = LNKSTA2_W1C,
	  DOC("Link Status 2", "the link is the kernel's") },
	{}
};

static const struct cap_row af_rows[] = {
	{ PCI_AF_CTRL, 1, .read = ALL & ~PCI_AF_CTRL_FLR, .fn = UVFIO_REG_AF,
	  DOC("AF Control",
	      "Initiate FLR makes the kernel reset the function; reads as 0") },
	{}
};

static u32 dword(const struct uvfio_caps_walk *walk, u32 pos)
{
	return pos < walk->size ? walk->read(walk->context, pos & ~3U) : 0;
}

static u32 msi_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	u16 flags = dword(walk, pos) >> 16;
	u32 len = flags & PCI_MSI_FLAGS_64BIT ? 14 : 10;

	return flags & PCI_MSI_FLAGS_MASKBIT ? len + 10 : len;
}

static u32 pcix_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	return PCI_X_CMD_VERSION(dword(walk, pos) >> 16) ?
		PCI_CAP_PCIX_SIZEOF_V1 : PCI_CAP_PCIX_SIZEOF_V0;
}

static u32 vndr_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	return dword(walk, pos) >> 16 & 0xff;
}

/* Slot and root registers, which only ports have, are left out. */
static u32 exp_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	u16 flags = dword(walk, pos) >> 16;
	u16 type = (flags & PCI_EXP_FLAGS_TYPE) >> 4;
	bool link = type != PCI_EXP_TYPE_RC_END && type != PCI_EXP_TYPE_RC_EC;

	if ((flags & PCI_EXP_FLAGS_VERS) < 2)
		return link ? PCI_CAP_EXP_ENDPOINT_SIZEOF_V1 :
			      PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V1;
	return link ? PCI_EXP_SLTCAP2 : PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2;
}

/* Entries of up to 8 dwords: the first of each says how many follow. */
static u32 ea_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	u32 entries = dword(walk, pos) >> 16 & PCI_EA_NUM_ENT_MASK;
	u32 len = PCI_EA_FIRST_ENT;

	for (; entries; entries--)
		len += 4 + 4 * (dword(walk, pos + len) & PCI_EA_ES);
	return len;
}

static const struct cap std_caps[] = {
	{ PCI_CAP_ID_PM, PCI_PM_SIZEOF, .lock = true, .rows = pm_rows,
	  DOC("Power Management") },
	{ PCI_CAP_ID_AGP, PCI_AGP_SIZEOF, .hidden = true,
	  DOC("AGP", "its commands reach the host's aperture") },
	{ PCI_CAP_ID_VPD, PCI_CAP_VPD_SIZEOF, .lock = true, .rows = vpd_rows,
	  DOC("Vital Product Data",
	      "the kernel makes the transactions, one at a time") },
	{ PCI_CAP_ID_SLOTID, 4, .hidden = true,
	  DOC("Slot Identification", "of bridges") },
	{ PCI_CAP_ID_MSI, 10, .lock = true, .length = msi_length, .rows = msi_rows,
	  DOC("MSI") },
	{ PCI_CAP_ID_CHSWP, 4, .hidden = true,
	  DOC("CompactPCI Hot Swap", "the slot's, not the device's") },
	{ PCI_CAP_ID_PCIX, PCI_CAP_PCIX_SIZEOF_V0, .length = pcix_length, .rows = pcix_rows,
	  DOC("PCI-X",
	      "what a device may do to a shared bus is the kernel's") },
	{ PCI_CAP_ID_HT, 4, .lock = true, .lock_len = HT_CAP_SIZEOF_LONG,
	  DOC("HyperTransport",
	      "its type and first register; the blocks behind it route interrupts and links") },
	{ PCI_CAP_ID_VNDR, 3, .open_ended = true, .length = vndr_length,
	  DOC("Vendor-Specific",
	      "only the vendor knows what a write does: config_permit opens what a driver needs") },
	{ PCI_CAP_ID_DBG, 4,
	  DOC("Debug Port", "where it is") },
	{ PCI_CAP_ID_CCRC, 4, .hidden = true,
	  DOC("CompactPCI Central Resource Control", "of the chassis") },
	{ PCI_CAP_ID_SHPC, 8, .hidden = true,
	  DOC("Standard Hot-Plug Controller", "of bridges") },
	{ PCI_CAP_ID_SSVID, 8,
	  DOC("Subsystem ID", "identity") },
	{ PCI_CAP_ID_AGP3, PCI_AGP_SIZEOF, .hidden = true,
	  DOC("AGP 8x", "of bridges") },
	{ PCI_CAP_ID_SECDEV, 4, .hidden = true, .lock = true,
	  .lock_len = SECDEV_LEN,
	  DOC("Secure Device", "the host's IOMMU") },
	{ PCI_CAP_ID_EXP, PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V1,
	  .length = exp_length, .rows = exp_rows,
	  DOC("PCI Express",
	      "Link Control is the kernel's, as the other end of the link is") },
	{ PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF, .lock = true, .rows = msix_rows,
	  DOC("MSI-X", "hidden where the table is not inside of a BAR") },
	{ PCI_CAP_ID_SATA, PCI_SATA_SIZEOF_SHORT,
	  DOC("SATA Index-Data",
	      "where the pair is; one in config space is not shown") },
	{ PCI_CAP_ID_AF, PCI_CAP_AF_SIZEOF, .lock = true, .rows = af_rows,
	  DOC("Advanced Features") },
	{ PCI_CAP_ID_EA, 4, .hidden = true, .lock = true, .length = ea_length,
	  DOC("Enhanced Allocation",
	      "addresses of the host; the BARs show what the device has") },
};

/* Extended capabilities: PCIe 4.0, 7.6 to 7.9 */

static const struct cap_row err_rows[] = {
	{ PCI_ERR_UNCOR_STATUS, 4, .read = ALL, .w1c = ALL,
	  DOC("Uncorrectable Error Status",
	      "the kernel reports errors, and clears them") },
	{ PCI_ERR_COR_STATUS, 4, .read = ALL, .w1c = ALL,
	  DOC("Correctable Error Status",
	      "the kernel reports errors, and clears them") },
	{}
};

static const struct cap_row pwr_rows[] = {
	{ PCI_PWR_DSR, 1, .read = ALL, .write = ALL,
	  DOC("Data Select", "it selects what Data shows") },
	{}
};

static const struct cap_row secpci_rows[] = {
	{ SECPCI_LANE_ERRORS, 4, .read = ALL, .w1c = ALL,
	  DOC("Lane Error Status", "the link is the kernel's") },
	{}
};

static u32 vc_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	u32 vcs = (dword(walk, pos + PCI_VC_PORT_CAP1) &
		   PCI_VC_CAP1_EVCC) + 1;

	return PCI_CAP_VC_BASE_SIZEOF + vcs * PCI_CAP_VC_PER_VC_SIZEOF;
}

static u32 vsec_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	return PCI_VNDR_HEADER_LEN(dword(walk, pos + PCI_VNDR_HEADER));
}

static u32 dvsec_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	return PCI_DVSEC_HEADER1_LEN(dword(walk, pos + PCI_DVSEC_HEADER1));
}

static u32 acs_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	u32 cap = dword(walk, pos + PCI_ACS_CAP);
	u32 bits = cap >> 8 & 0xff ?: 256;

	return cap & PCI_ACS_EC ? 8 + (bits + 31) / 32 * 4 : 8;
}

static u32 rebar_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	u32 bars = (dword(walk, pos + PCI_REBAR_CTRL) &
		    PCI_REBAR_CTRL_NBAR_MASK) >> PCI_REBAR_CTRL_NBAR_SHIFT;

	return 4 + 8 * bars;
}

static u32 dpa_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	return PCI_DPA_BASE_SIZEOF + 1 + (dword(walk, pos + PCI_DPA_CAP) &
					  PCI_DPA_CAP_SUBSTATE_MASK);
}

static u32 tph_length(const struct uvfio_caps_walk *walk, u32 pos)
{
	u32 cap = dword(walk, pos + PCI_TPH_CAP);

	if ((cap & PCI_TPH_CAP_LOC_MASK) != PCI_TPH_LOC_CAP)
		return PCI_TPH_BASE_SIZEOF;
	return PCI_TPH_BASE_SIZEOF +
	       2 * (((cap & PCI_TPH_CAP_ST_MASK) >> PCI_TPH_CAP_ST_SHIFT) + 1);
}

static const struct cap ext_caps[] = {
	{ PCI_EXT_CAP_ID_ERR, PCI_ERR_ROOT_COMMAND, .rows = err_rows,
	  DOC("Advanced Error Reporting",
	      "masks and severities decide what of the device stops the machine") },
	{ PCI_EXT_CAP_ID_VC, PCI_CAP_VC_BASE_SIZEOF, .length = vc_length,
	  DOC("Virtual Channel",
	      "the other end of the link is the kernel's; arbitration tables are not shown") },
	{ PCI_EXT_CAP_ID_DSN, PCI_EXT_CAP_DSN_SIZEOF,
	  DOC("Device Serial Number", "identity") },
	{ PCI_EXT_CAP_ID_PWR, PCI_EXT_CAP_PWR_SIZEOF, .rows = pwr_rows,
	  DOC("Power Budgeting") },
	{ PCI_EXT_CAP_ID_RCLD, 16, .hidden = true,
	  DOC("Root Complex Link Declaration", "of the host") },
	{ PCI_EXT_CAP_ID_RCILC, 12, .hidden = true,
	  DOC("Root Complex Internal Link Control", "of the host") },
	{ PCI_EXT_CAP_ID_RCEC, 8, .hidden = true,
	  DOC("Root Complex Event Collector", "of the host") },
	{ PCI_EXT_CAP_ID_MFVC, PCI_CAP_VC_BASE_SIZEOF, .hidden = true,
	  DOC("Multi-Function Virtual Channel",
	      "shared with other functions") },
	{ PCI_EXT_CAP_ID_VC9, PCI_CAP_VC_BASE_SIZEOF, .length = vc_length,
	  DOC("Virtual Channel (with MFVC)", "as Virtual Channel") },
	{ PCI_EXT_CAP_ID_RCRB, 20, .hidden = true,
	  DOC("RCRB Header", "of the host") },
	{ PCI_EXT_CAP_ID_VNDR, 8, .open_ended = true, .length = vsec_length,
	  DOC("Vendor-Specific", "as its namesake among the standard ones") },
	{ PCI_EXT_CAP_ID_CAC, 4, .hidden = true,
	  DOC("Configuration Access Correlation", "obsolete") },
	{ PCI_EXT_CAP_ID_ACS, 8, .lock = true, .length = acs_length,
	  DOC("Access Control Services", "they keep devices apart") },
	{ PCI_EXT_CAP_ID_ARI, PCI_EXT_CAP_ARI_SIZEOF, .lock = true,
	  DOC("Alternative Routing-ID", "it concerns other functions") },
	{ PCI_EXT_CAP_ID_ATS, PCI_EXT_CAP_ATS_SIZEOF, .hidden = true,
	  .lock = true,
	  DOC("Address Translation Services",
	      "with it a device goes past the IOMMU; whether it may is the kernel's to say") },
	{ PCI_EXT_CAP_ID_SRIOV, PCI_EXT_CAP_SRIOV_SIZEOF, .hidden = true,
	  .lock = true,
	  DOC("Single Root I/O Virtualization", "it makes other devices") },
	{ PCI_EXT_CAP_ID_MRIOV, 4, .hidden = true, .lock = true,
	  DOC("Multi-Root I/O Virtualization",
	      "as Single Root I/O Virtualization") },
	{ PCI_EXT_CAP_ID_MCAST, PCI_EXT_CAP_MCAST_ENDPOINT_SIZEOF,
	  .hidden = true, .lock = true,
	  DOC("Multicast", "it has a part in where writes of others go") },
	{ PCI_EXT_CAP_ID_PRI, PCI_EXT_CAP_PRI_SIZEOF, .hidden = true,
	  .lock = true,
	  DOC("Page Request Interface",
	      "page faults of a device are handled by the kernel, or not at all") },
	{ PCI_EXT_CAP_ID_AMD_XXX, 4, .hidden = true,
	  DOC("Reserved for AMD", "meaning unknown") },
	{ PCI_EXT_CAP_ID_REBAR, 12, .lock = true, .length = rebar_length,
	  DOC("Resizable BAR",
	      "a BAR that grows needs room that others may have") },
	{ PCI_EXT_CAP_ID_DPA, PCI_DPA_BASE_SIZEOF, .length = dpa_length,
	  DOC("Dynamic Power Allocation", "the platform's budget") },
	{ PCI_EXT_CAP_ID_TPH, PCI_TPH_BASE_SIZEOF, .length = tph_length,
	  DOC("TPH Requester", "steering tags name caches of the host") },
	{ PCI_EXT_CAP_ID_LTR, PCI_EXT_CAP_LTR_SIZEOF,
	  DOC("Latency Tolerance Reporting", "the platform's budget") },
	{ PCI_EXT_CAP_ID_SECPCI, 12, .rows = secpci_rows,
	  DOC("Secondary PCI Express",
	      "of the link; lane equalization is not shown") },
	{ PCI_EXT_CAP_ID_PMUX, 4, .hidden = true,
	  DOC("Protocol Multiplexing", "of the link") },
	{ PCI_EXT_CAP_ID_PASID, PCI_EXT_CAP_PASID_SIZEOF, .hidden = true,
	  .lock = true,
	  DOC("Process Address Space ID",
	      "it chooses among address spaces, and the user has one") },
	{ PCI_EXT_CAP_ID_DPC, 4, .hidden = true,
	  DOC("Downstream Port Containment", "of ports") },
	{ PCI_EXT_CAP_ID_L1SS, 16,
	  DOC("L1 PM Substates", "the other end of the link is the kernel's") },
	{ PCI_EXT_CAP_ID_PTM, 12,
	  DOC("Precision Time Measurement", "the path has to take part") },
	{ PCI_EXT_CAP_ID_DVSEC, 12, .open_ended = true, .length = dvsec_length,
	  DOC("Designated Vendor-Specific", "as Vendor-Specific") },
	{ PCI_EXT_CAP_ID_VF_REBAR, 4, .hidden = true, .lock = true,
	  DOC("VF Resizable BAR", "as Single Root I/O Virtualization") },
	{ PCI_EXT_CAP_ID_DLF, 12,
	  DOC("Data Link Feature", "of the link") },
	{ PCI_EXT_CAP_ID_PL_16GT, 0x20,
	  DOC("Physical Layer 16.0 GT/s",
	      "of the link; lane equalization is not shown") },
	{ PCI_EXT_CAP_ID_DOE, 24, .hidden = true,
	  DOC("Data Object Exchange",
	      "a mailbox to firmware that holds one conversation at a time, the kernel's") },
};

static const struct cap *cap_find(const struct cap *caps, size_t count, u16 id)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (caps[i].id == id)
			return &caps[i];
	return NULL;
}

/* Laying rows over registers */

/* The bytes from @start to @end, exclusive, that dword @at has, as a mask. */
static u32 byte_mask(u32 at, u32 start, u32 end)
{
	u32 first = start > at ? start - at : 0;
	u32 last = end < at + 4 ? end - at : 4;

	return ALL >> (32 - 8 * (last - first)) << (8 * first);
}

static void apply_row(struct uvfio_caps_walk *walk, u32 pos, u32 end,
		      const struct cap_row *row)
{
	u32 start = pos + row->off, at;

	/* A row may reach beyond a shorter form of its capability. */
	if (row->len && start + row->len < end)
		end = start + row->len;

	for (at = start & ~3U; at < end; at += 4) {
		struct uvfio_reg *reg = &walk->regs[at / 4];
		u32 mask = byte_mask(at, start, end);
		u32 shift = start > at ? 8 * (start - at) : 0;

		reg->hw = (reg->hw & ~mask) | (row->read << shift & mask);
		reg->keep |= row->keep << shift & mask;
		reg->write |= row->write << shift & mask & ~reg->lock;
		reg->w1c |= row->w1c << shift & mask;
		if (row->lock)
			reg->lock |= mask;
		if (row->copy)
			reg->value |= dword(walk, at) & ~reg->hw & mask;
		if (row->fn)
			reg->fn = row->fn;
	}
}

static void apply_rows(struct uvfio_caps_walk *walk, u32 pos, u32 end,
		       const struct cap_row *row)
{
	for (; row->off || row->len; row++)
		if (pos + row->off < end)
			apply_row(walk, pos, end, row);
}

static void apply_cap(struct uvfio_caps_walk *walk, u32 pos, u32 len,
		      const struct cap *cap)
{
	static const struct cap_row read_only = { 0, 0, .read = ALL };

	apply_row(walk, pos, pos + len, &read_only);
	if (cap->rows)
		apply_rows(walk, pos, pos + len, cap->rows);
}

/*
 * No permit opens these, as far as config space has them, and no row of another
 * capability does: one that overlaps is hidden, but may be the kernel's.
 */
static void lock_range(struct uvfio_caps_walk *walk, u32 pos, u32 len)
{
	u32 end = pos + len < walk->size ? pos + len : walk->size, at;

	for (at = pos & ~3U; at < end; at += 4) {
		struct uvfio_reg *reg = &walk->regs[at / 4];

		reg->lock |= byte_mask(at, pos, end);
		reg->write &= ~byte_mask(at, pos, end);
	}
}

/* Walking */

/* Dwords from @pos to @limit until the next capability, or all @len bytes. */
static u32 len_until_next(const struct uvfio_caps_walk *walk, u32 pos, u32 len)
{
	u32 at;

	for (at = pos + 4; at < pos + len && at < walk->size; at += 4)
		if (walk->regs[at / 4].start)
			return at - pos;
	return len;
}

/* The one place that bounds what the device says: false if it does not fit. */
static bool claim(struct uvfio_caps_walk *walk, u32 pos, u32 len, u32 limit)
{
	u32 at;

	if (len > limit - pos)
		return false;
	for (at = pos; at < pos + len; at += 4)
		if (walk->regs[at / 4].claimed)
			return false;
	for (at = pos; at < pos + len; at += 4)
		walk->regs[at / 4].claimed = true;
	return true;
}

/*
 * Whether the capability is to be seen; its registers are set up then. Hidden or
 * not, what it holds is kept from permits if it has to be, and what it occupies
 * from other capabilities.
 */
static bool cap_show(struct uvfio_caps_walk *walk, u32 pos, u32 limit,
		     const struct cap *cap)
{
	u32 len;

	if (!cap)
		return false;

	len = cap->length ? cap->length(walk, pos) : cap->len;
	if (cap->open_ended)
		len = len_until_next(walk, pos, len);
	if (cap->lock) {
		lock_range(walk, pos, len > cap->len ? len : cap->len);
		lock_range(walk, pos, len_until_next(walk, pos, cap->lock_len));
	}
	if (len < cap->len || !claim(walk, pos, len, limit)) {
		walk->rejected++;
		return false;
	}
	if (cap->hidden || (cap->rows == msix_rows && walk->hide_msix))
		return false;

	apply_cap(walk, pos, len, cap);
	return true;
}

static void found(struct uvfio_caps_walk *walk, u32 pos, u32 header)
{
	walk->regs[pos / 4].start = true;
	walk->found[walk->num_found].pos = pos;
	walk->found[walk->num_found++].header = header;
}

/*
 * First the positions: each one once, so a loop ends the list, and no more than
 * config space has dwords.
 */
static void find_std_caps(struct uvfio_caps_walk *walk)
{
	u32 pos = dword(walk, PCI_CAPABILITY_LIST) & 0xfc;
	u32 header;

	if (!(dword(walk, PCI_COMMAND) >> 16 & PCI_STATUS_CAP_LIST))
		return;

	while (pos >= PCI_STD_HEADER_SIZEOF && pos < walk->size &&
	       !walk->regs[pos / 4].start) {
		header = dword(walk, pos);
		if ((header & 0xff) == 0xff)
			break;
		found(walk, pos, header);
		pos = header >> 8 & 0xfc;
	}
}

/* Some devices are known to hang when the end of even that is touched. */
static u32 std_size(const struct uvfio_caps_walk *walk)
{
	return walk->size < PCI_CFG_SPACE_SIZE ? walk->size :
						 PCI_CFG_SPACE_SIZE;
}

/* Then the new list: of those to be seen, in the order of the old one. */
static void link_std_caps(struct uvfio_caps_walk *walk)
{
	u32 *link = &walk->regs[PCI_CAPABILITY_LIST / 4].value;
	unsigned int i, shift = 0;

	for (i = 0; i < walk->num_found; i++) {
		u32 pos = walk->found[i].pos;
		u32 id = walk->found[i].header & 0xff;
		struct uvfio_reg *reg = &walk->regs[pos / 4];

		if (cap_show(walk, pos, std_size(walk),
			     cap_find(std_caps, ARRAY_SIZE(std_caps), id))) {
			*link |= pos << shift;
			link = &reg->value;
			shift = 8;
			reg->value |= id;
			reg->hw &= ~0xffffU;
			walk->regs[PCI_COMMAND / 4].value |=
				(u32)PCI_STATUS_CAP_LIST << 16;
		}
		lock_range(walk, pos, 2);
	}
}

static void find_ext_caps(struct uvfio_caps_walk *walk)
{
	u32 pos = PCI_CFG_SPACE_SIZE, header;

	while (pos >= PCI_CFG_SPACE_SIZE && pos < walk->size &&
	       !walk->regs[pos / 4].start) {
		header = dword(walk, pos);
		if (!header || header == ALL)
			break;
		found(walk, pos, header);
		pos = PCI_EXT_CAP_NEXT(header);
	}
}

/* The list has a fixed first place: ID 0, the null capability, if it is hidden. */
static void link_ext_caps(struct uvfio_caps_walk *walk)
{
	u32 *link = &walk->regs[PCI_CFG_SPACE_SIZE / 4].value;
	unsigned int i;

	for (i = 0; i < walk->num_found; i++) {
		u32 pos = walk->found[i].pos;
		u32 header = walk->found[i].header & 0xfffff;
		struct uvfio_reg *reg = &walk->regs[pos / 4];

		if (cap_show(walk, pos, walk->size,
			     cap_find(ext_caps, ARRAY_SIZE(ext_caps),
				      PCI_EXT_CAP_ID(header)))) {
			reg->value = header;
			if (i)
				*link |= pos << 20;
			link = &reg->value;
			reg->hw = 0;
		}
		lock_range(walk, pos, 4);
	}
}

/**
 * uvfio_caps_walk - lay the table over a device
 * @walk: see there
 *
 * What depends on resources, the BARs and the ROM, reads as zero and is for the
 * caller to fill in, so are identity and interrupt pin of a VF.
 */
void uvfio_caps_walk(struct uvfio_caps_walk *walk)
{
	unsigned int i;

	apply_rows(walk, 0, PCI_STD_HEADER_SIZEOF, header_rows);

	walk->rejected = 0;
	walk->num_found = 0;
	find_std_caps(walk);
	link_std_caps(walk);
	if (walk->size > PCI_CFG_SPACE_SIZE) {
		walk->num_found = 0;
		find_ext_caps(walk);
		link_ext_caps(walk);
	}

	for (i = 0; i < walk->size / 4; i++)
		walk->regs[i].initial = walk->regs[i].value;
}

/**
 * uvfio_reg_effect - the bits of hardware that a user's write can change
 * @reg: a register
 *
 * Written by the user or, when the user asks for it, by the kernel.
 */
u32 uvfio_reg_effect(const struct uvfio_reg *reg)
{
	switch (reg->fn) {
	case UVFIO_REG_COMMAND:
		return reg->write | PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
		       PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
	case UVFIO_REG_POWER:
		return reg->write | PCI_PM_CTRL_STATE_MASK;
	case UVFIO_REG_VPD:
		return reg->write | 0xffff0000;
	case UVFIO_REG_VPD_DATA:
		return ALL;
	case UVFIO_REG_DEVCTL:
		return reg->write | PCI_EXP_DEVCTL_READRQ;
	default:
		return reg->write;
	}
}
