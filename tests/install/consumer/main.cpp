#include <iostream>
#include <string>

#include <aee_virt.h>

int main()
{
    const aee_value value = aee_i64(42);
    if (std::string(aee_version()) != AEE_VERSION_STRING || value.as.i64 != 42) {
        std::cerr << "header " << AEE_VERSION_STRING << ", library " << aee_version() << '\n';
        return 1;
    }
    std::cout << aee_version() << '\n';
}
