#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" std::uint32_t sorted_and_caught(std::uint32_t n) {
    std::vector<std::string> words{"c", "a", "b"};
    std::sort(words.begin(), words.end());
    try {
        throw std::runtime_error(words.front());
    } catch (const std::exception &error) {
        return n * (error.what() == std::string("a") ? 6 : 0);
    }
}
